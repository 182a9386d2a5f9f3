package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// supervised is a cluster on the hosts of a bed whose members requorum itself keeps
// running, with the etcd inside requorum.
type supervised struct {
	t    *testing.T
	b    *bed.Bed
	more string // further lines of the cluster block
	user string
}

// write writes the file for members on these hosts.
func (s *supervised) write(names ...string) string {
	s.t.Helper()
	var out, members strings.Builder
	for _, n := range names {
		a := s.b.Host(n).Address
		fmt.Fprintf(&out, "host %q {\n  address = %q\n  ssh { user = %q }\n}\n", n, a, s.user)
		fmt.Fprintf(&members, "  member %q {\n    host        = %q\n    peer_urls   = [\"http://%s:2380\"]\n    client_urls = [\"http://%s:2379\"]\n    data_dir    = \"/var/lib/etcd/%s\"\n  }\n", n, n, a, a, n)
	}
	fmt.Fprintf(&out, "cluster \"bed\" {\n%s%s}\n", s.more, members.String())
	path := s.b.Path("home", "supervised.hcl")
	if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *supervised) endpoints(names ...string) []string {
	var out []string
	for _, n := range names {
		out = append(out, "http://"+s.b.Host(n).Address+":2379")
	}
	return out
}

// settle applies the file until there is nothing left to do, and gives the routes.
func (s *supervised) settle(names ...string) (routes []string) {
	s.t.Helper()
	path := s.write(names...)
	for range settleLimit {
		p := s.b.Plan(path)
		if p.Refusal != nil {
			s.t.Fatalf("refused: %s: %s\n%s", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
		}
		if len(p.Steps) == 0 {
			s.b.Requorum("status", path).Want(s.t, 0)
			return routes
		}
		r := s.b.Requorum(append([]string{"apply", "--auto-approve", path}, p.Accept()...)...).Want(s.t, 0)
		s.t.Logf("%s: %s: %.1f s", p.Route, p.Steplist(), r.Took.Seconds())
		routes = append(routes, p.Route)
	}
	s.t.Fatalf("not done after %d applies", settleLimit)
	return nil
}

// A cluster's life on real hosts, over ssh and sudo, under requorum's own supervisor:
// it begins, grows, gets another host, is restored and is recovered.
func TestSupervisedOverSSH(t *testing.T) {
	wanted(t)
	s := &supervised{t: t, b: bed.New(t, bed.Options{Hosts: 4}), user: "ops"}
	s.settle("m1")
	base := harness.Fill(t, s.endpoints("m1"), 1000)
	w := harness.StartWriters(t, 2, s.endpoints("m1", "m2", "m3", "m4"))
	w.Await(t, 50)
	s.settle("m1", "m2", "m3")
	s.settle("m1", "m2", "m4")
	w.Await(t, 50)
	w.Stop()
	all := w.Check(t, base, s.endpoints("m1", "m2", "m4"))
	t.Logf("%d writes acknowledged, %d failed, longest gap %s", w.Acked(), len(w.Failed()), w.Gap())

	harness.Snapshot(t, s.endpoints("m1")[0], s.b.Path("home", "backup.db"))
	s.b.PowerOff()
	for _, h := range s.b.Hosts() {
		h.ReplaceDisk()
	}
	s.b.PowerOn()
	s.more = "  snapshot { source = \"backup.db\" }\n"
	if routes := s.settle("m1", "m2", "m4"); routes[0] != "restore" {
		t.Errorf("routes %q", routes)
	}
	harness.CompareAll(t, all, s.endpoints("m1", "m2", "m4"))

	s.more = ""
	s.b.PowerOff()
	s.b.Host("m1").ReplaceDisk()
	s.b.Host("m4").ReplaceDisk()
	s.b.PowerOn()
	if routes := s.settle("m1", "m2", "m4"); routes[0] != "recover" {
		t.Errorf("routes %q", routes)
	}
	harness.CompareAll(t, all, s.endpoints("m1", "m2", "m4"))
}

// What keeps a host from being reached is said, and why, each in its own way.
func TestHostTroubles(t *testing.T) {
	wanted(t)
	s := &supervised{t: t, b: bed.New(t, bed.Options{Hosts: 2}), user: "ops"}
	plan := func(user string) harness.Result {
		t.Helper()
		s.user = user
		return s.b.Requorum("plan", s.write("m1")).Want(t, 6)
	}
	plan("guest").Says(t, "sudo -n does not work")
	plan("stranger").Says(t, "the login is refused")
	s.b.KnowKeys("m1")
	plan("ops").Says(t, "the host key is not the one that is known")
	s.b.KnowKeys()
	s.b.Host("m1").PowerOff()
	plan("ops").Says(t, "see whether the host is up")
	m1 := s.b.Host("m1")
	m1.PowerOn()
	s.more = "  etcd { binary = \"/opt/etcd-9.9/etcd\" }\n"
	plan("ops").Says(t, "/opt/etcd-9.9/etcd")
	s.more = ""
	m1.FillDisk(1 << 20)
	plan("ops").Says(t, "there is no room for m1")
	m1.FreeDisk()
	s.settle("m1")
	// A member's own etcd may go on with what it has set aside; a new one can't begin.
	m2 := s.b.Host("m2")
	m2.FillDisk(1 << 20)
	s.b.Requorum("plan", s.write("m1", "m2")).Want(t, 6).Says(t, "there is no room for m2")
	m2.FreeDisk()
	s.settle("m1", "m2")
}
