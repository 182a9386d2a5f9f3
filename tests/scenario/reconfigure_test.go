package scenario

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// live is a cluster under writers that is about to be changed.
type live struct {
	e    *harness.Env
	c    *harness.Cluster
	base harness.Keys
	ws   []*harness.Writers
	id   string
	dirs harness.Dirs
}

// living bootstraps a cluster of n and starts writers.
func living(t *testing.T, n int) *live {
	t.Helper()
	e := harness.New(t)
	c, base := bootstrapped(t, e, n)
	l := &live{e: e, c: c, base: base, id: harness.ClusterID(t, c.Endpoints())}
	l.write(t)
	return l
}

// write starts more writers, on all endpoints that the file has now.
func (l *live) write(t *testing.T) {
	t.Helper()
	w := harness.StartWriters(t, 2, l.c.Endpoints())
	w.Await(t, 50)
	l.ws = append(l.ws, w)
	l.dirs = harness.DataDirs(t, l.c.Dir)
}

// becomes brings the cluster to the file as it is now, while writers write, and
// compares all that was ever acknowledged. It gives the plans.
func (l *live) becomes(t *testing.T, accept ...string) []harness.Plan {
	t.Helper()
	l.c.Write()
	plans := l.e.Settle(l.c.Path(), accept...)
	w := l.ws[len(l.ws)-1]
	w.Stop()
	t.Logf("%d acknowledged, %d failed %.1q, longest gap %d ms", w.Acked(), len(w.Failed()), w.Failed(), w.Gap().Milliseconds())
	l.base = harness.CheckAll(t, l.base, l.c.Endpoints(), l.ws...)
	membersAreTheFiles(t, l.c)
	if now := harness.ClusterID(t, l.c.Endpoints()); now != l.id {
		t.Errorf("cluster ID %s, before %s", now, l.id)
	}
	l.dirs.Kept(t, l.c.Dir)
	for _, p := range plans {
		if p.Route != "reconfigure" && p.Route != "start" {
			t.Errorf("route %s: %s", p.Route, p.Headline)
		}
	}
	return plans
}

// more are n further members of the file.
func (l *live) more(n int) {
	ports := l.e.Ports(2 * n)
	for i := range n {
		name := fmt.Sprintf("m%d", len(l.c.Members)+1)
		m := harness.Member{Name: name, Client: ports.URL(2 * i), Peer: ports.URL(2*i + 1), DataDir: filepath.Join(l.c.Dir, "data", name)}
		l.e.Expect(m.DataDir)
		l.c.Members = append(l.c.Members, m)
	}
}

// less leaves the first n members in the file, and checks later that the others
// do not run.
func (l *live) less(t *testing.T, n int, accept ...string) {
	t.Helper()
	all := *l.c
	l.c.Members = l.c.Members[:n:n]
	l.becomes(t, accept...)
	for _, m := range all.Members[n:] {
		if p, s := all.Etcd(m), all.Supervisor(m); p.PID != 0 || s.PID != 0 {
			t.Errorf("%s was removed and still runs: %v, %v", m.Name, p, s)
		}
	}
}

// All peer URLs change, one member after the other.
func TestPeerURLsChange(t *testing.T) {
	t.Parallel()
	l := living(t, 3)
	ports := l.e.Ports(3)
	for i := range l.c.Members {
		l.c.Members[i].Peer = ports.URL(i)
	}
	l.becomes(t)
}

// Client URLs need no more than a restart of each.
func TestClientURLsChange(t *testing.T) {
	t.Parallel()
	l := living(t, 3)
	ports := l.e.Ports(3)
	for i := range l.c.Members {
		l.c.Members[i].Client = ports.URL(i)
	}
	l.becomes(t)
}

// A disk is lost, its member is replaced.
func TestReplaceALostDisk(t *testing.T) {
	t.Parallel()
	for name, stopped := range map[string]bool{"etcd killed": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := living(t, 3)
			m := l.c.Members[2]
			if stopped {
				l.e.Run("stop", "--auto-approve", "--member", m.Name, l.c.Path()).Want(t, 0)
				l.c.DropData(m)
			} else {
				l.c.DropData(m)
				if err := harness.Kill9([]harness.Proc{l.c.Etcd(m)}); err != nil {
					t.Fatal(err)
				}
				awaitRoute(t, l.e, l.c, "reconfigure") // until the supervisor has given up
			}
			l.dirs = l.dirs.Without(m.DataDir)
			l.becomes(t, harness.Granted)
		})
	}
}

// awaitRoute plans until the route is the one that will stay.
func awaitRoute(t *testing.T, e *harness.Env, c *harness.Cluster, route string) harness.Plan {
	t.Helper()
	p := e.Plan(c.Path())
	for end := time.Now().Add(20 * time.Second); p.Route != route && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		p = e.Plan(c.Path())
	}
	if p.Route != route {
		t.Fatalf("route %s, not %s; refusal %+v: %s", p.Route, route, p.Refusal, p.Headline)
	}
	return p
}

// A member is removed, the leader perhaps; its directory stays.
func TestRemoveAMember(t *testing.T) {
	t.Parallel()
	l := living(t, 3)
	st := harness.Status(t, l.c.Members[0].Client)
	for i, m := range l.c.Members { // the leader last: it is the one that goes
		if harness.Status(t, m.Client).Header.MemberId == st.Leader {
			ms := l.c.Members
			ms[i], ms[2] = ms[2], ms[i]
		}
	}
	l.less(t, 2, "--accept=remove-member:"+l.c.Members[2].Name)
}

// Three become five and three again.
func TestThreeFiveThree(t *testing.T) {
	t.Parallel()
	l := living(t, 3)
	l.more(2)
	l.becomes(t)
	l.write(t)
	l.less(t, 3, "--accept=remove-member:m4,remove-member:m5")
}

// One becomes three, five, three, one.
func TestOneThreeFiveThreeOne(t *testing.T) {
	t.Parallel()
	l := living(t, 1)
	l.more(2)
	l.becomes(t)
	l.write(t)
	l.more(2)
	l.becomes(t)
	l.write(t)
	l.less(t, 3, "--accept=remove-member:m4,remove-member:m5")
	l.write(t)
	l.less(t, 1, "--accept=remove-member:m2,remove-member:m3")
}

// A member is exchanged for one of another name at another address.
func TestReplaceByAnother(t *testing.T) {
	t.Parallel()
	l := living(t, 3)
	gone, all := l.c.Members[2], *l.c
	l.c.Members = l.c.Members[:2:2]
	l.more(2)
	l.c.Members = append(l.c.Members[:2:2], l.c.Members[3]) // m1, m2, m4
	l.becomes(t, "--accept=remove-member:m3")
	if p := all.Etcd(gone); p.PID != 0 {
		t.Errorf("m3 still runs: %v", p)
	}
}
