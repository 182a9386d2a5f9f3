package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// machine is a host on which etcds run, and that says what lies where.
type machine struct {
	host.Host // nothing else may be asked of it
	etcds     []planner.Foreign
	dirs      map[string]planner.DataDir
	asked     []planner.Place
}

func (m *machine) Etcds(context.Context) []planner.Foreign { return m.etcds }

func (m *machine) Observe(_ context.Context, places []planner.Place) (map[string]host.Facts, error) {
	m.asked = append(m.asked, places...)
	out := map[string]host.Facts{}
	for _, p := range places {
		d, ok := m.dirs[p.DataDir]
		if !ok {
			d.State = planner.DirAbsent
		}
		out[p.Name] = host.Facts{Data: planner.Known(d), Service: planner.Known(planner.Service{State: planner.ServiceNone})}
	}
	return out, nil
}

func etcdOn(pid int, dir, wal string) planner.Foreign {
	return planner.Foreign{PID: pid, Exe: "/opt/etcd", Settings: map[string]string{"data-dir": dir, "wal-dir": wal}}
}

// Without a directory named, what runs leads to the disks.
func TestRescueFindsWhatRuns(t *testing.T) {
	m := &machine{
		etcds: []planner.Foreign{etcdOn(7, "/srv/m1", "/wal/m1"), {PID: 8, Exe: "/opt/etcd", Problem: "it runs as user 12"}, etcdOn(9, "/var/lib/etcd", "")},
		dirs:  map[string]planner.DataDir{"/srv/m1": {State: planner.DirPresent, ClusterID: "c", MemberID: "a1", HeldBy: 7}},
	}
	found, err := (&rescuer{host: m}).find(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []planner.Place{{Name: "/srv/m1", DataDir: "/srv/m1", WALDir: "/wal/m1"}, {Name: "/var/lib/etcd", DataDir: "/var/lib/etcd"}}
	if !reflect.DeepEqual(m.asked, want) {
		t.Errorf("%+v", m.asked)
	}
	if d := found.Disks[0]; d.Process == nil || d.Process.PID != 7 || d.WALDir != "/wal/m1" {
		t.Errorf("%+v", d)
	}
	// One whose settings can't be told, and one whose directory is another's here.
	if len(found.Unseen) != 2 || found.Unseen[0].PID != 8 || found.Unseen[1].PID != 9 || !strings.Contains(found.Unseen[1].Problem, "container") {
		t.Errorf("%+v", found.Unseen)
	}
}

func TestRescueTakesLinksForWhatTheyLeadTo(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "m1"), filepath.Join(dir, "link")
	if err := os.MkdirAll(filepath.Join(real, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"gone.requorum", "other", "not-a-member.txt"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m := &machine{etcds: []planner.Foreign{etcdOn(7, link, "")}, dirs: map[string]planner.DataDir{real: {State: planner.DirPresent, ClusterID: "c", MemberID: "a1", HeldBy: 7}}}
	found, err := (&rescuer{host: m, dirs: []string{real, real + "/", link}}).find(context.Background())
	if err != nil || len(found.Disks) != 1 || found.Disks[0].Process == nil {
		t.Errorf("%+v, %v", found, err)
	}
	if got, wals, err := dataDirs([]string{real + ",/wal/m1"}); err != nil || fmt.Sprint(got, wals) != fmt.Sprintf("[%s] map[%s:/wal/m1]", real, real) {
		t.Errorf("%v %v: %v", got, wals, err)
	}
	// A folder: what has a member in it, and what requorum kept something for.
	got, _, err := dataDirs([]string{dir})
	if want := []string{filepath.Join(dir, "gone"), real}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, not %v: %v", got, want, err)
	}
}
