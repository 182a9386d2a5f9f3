package planner

import (
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// onHosts puts each member on a host of its own, where all paths are the same.
func onHosts(in Input) Input {
	in.Cluster.Hosts = nil
	for i := range in.Cluster.Members {
		m := &in.Cluster.Members[i]
		m.Host, m.DataDir = "h"+m.Name[1:], "/var/lib/etcd"
		in.Cluster.Hosts = append(in.Cluster.Hosts, spec.Host{Name: m.Host, Access: spec.AccessSSH, Service: spec.Service{Kind: spec.ServiceProcess}})
		edit(&in, m.Name, func(o *MemberObservation) {
			o.Host, o.Base, o.FileSystem = m.Host, "/var/lib/etcd.requorum", "dev 8:1"
			o.Data.Value.Path = m.DataDir
		})
	}
	return in
}

func restoreIn(t *testing.T, p *Plan) Restore {
	t.Helper()
	for _, s := range p.Steps {
		if a, ok := s.Action.(Restore); ok {
			return a
		}
	}
	t.Fatalf("%s %+v: nothing is staged", p.Headline, p.Refusal)
	return Restore{}
}

// A recovery's snapshot lies on the survivor's host, and planning again after an
// interruption finds it there, though every host has a folder of that name.
func TestRecoveredOnItsHost(t *testing.T) {
	in := onHosts(input(threeMembers(), missing, down, missing))
	p := New(in)
	first := restoreIn(t, p)
	if first.SnapshotHost != "h2" || !strings.HasPrefix(first.Snapshot, "/var/lib/etcd.requorum/recovered/") {
		t.Fatalf("%q on %q", first.Snapshot, first.SnapshotHost)
	}
	for _, s := range p.Steps {
		a := s.Action
		if r, ok := a.(Restore); ok {
			r.Members = r.Members[2:] // then it is killed
			a = r
		}
		var err error
		if in.Observation, err = Predict(in.Observation, a); err != nil {
			t.Fatal(err)
		}
		if s.Kind == first.Kind() {
			break
		}
	}
	in.Token = "another"
	again := restoreIn(t, New(in))
	if again.SnapshotHost != "h2" || again.Snapshot != first.Snapshot || !again.Recovered {
		t.Errorf("%q on %q, and it was %q on %q", again.Snapshot, again.SnapshotHost, first.Snapshot, first.SnapshotHost)
	}
}

// A process of one host is nobody on another one, though it has the same number.
func TestProcessesOfHosts(t *testing.T) {
	in := onHosts(input(threeMembers(), fresh, fresh, fresh))
	unseen := Foreign{PID: 77, Host: "h2", Settings: map[string]string{"name": "m1", "initial-advertise-peer-urls": in.Cluster.Members[0].PeerURLs[0]}}
	edit(&in, "m1", func(o *MemberObservation) { o.Service.Value.PID = 77 })
	in.Observation.Etcds = []Foreign{unseen}
	p := New(in)
	if p.Refusal == nil || p.Refusal.Code != CodeHostAlive || !strings.Contains(p.Refusal.Detail, "on h2") {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
	f := newForecast(&in.Observation)
	f.forget("h1", 77)
	if len(f.obs.Etcds) != 1 {
		t.Error("a process of another host was forgotten")
	}
	f.forget("h2", 77)
	if len(f.obs.Etcds) != 0 {
		t.Error("it was not forgotten")
	}
}

// Equal names of file systems are different disks on different hosts; and where a
// snapshot comes from elsewhere, a copy of it has to have room too.
func TestRoomOfHosts(t *testing.T) {
	in := onHosts(input(withSnapshot(threeMembers()), fresh, fresh, fresh))
	size := in.Observation.Snapshot.Size
	need := 2*size + walSize + binarySize
	for _, name := range []string{"m1", "m2", "m3"} {
		edit(&in, name, func(o *MemberObservation) { o.FreeBytes = Known(need + need/10) })
	}
	if p := New(in); p.Refusal != nil {
		t.Errorf("%+v", p.Refusal)
	}
	edit(&in, "m2", func(o *MemberObservation) { o.FreeBytes = Known(need + need/10 - 1) })
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeNoRoom {
		t.Errorf("%+v", p.Refusal)
	}
}

func TestSources(t *testing.T) {
	for source, want := range map[string][2]string{
		"/a/b:/c.db": {"", "/a/b:/c.db"}, "h1:/a/b.db": {"h1", "/a/b.db"}, "(sensitive)": {"", "(sensitive)"},
	} {
		if host, path := parseSource(source); host != want[0] || path != want[1] {
			t.Errorf("%s: %q %q", source, host, path)
		}
	}
	m := &member{seen: MemberObservation{Host: "h"}}
	if host, path := parseSource(sourceOn(m, "/x")); host != "h" || path != "/x" {
		t.Errorf("%q %q", host, path)
	}
}
