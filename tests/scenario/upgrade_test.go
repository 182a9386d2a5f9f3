package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// versions is a folder with an etcd of each minor version, as /opt/etcd/{minor}/etcd.
func versions(t *testing.T, e *harness.Env) string {
	t.Helper()
	dir := e.Path("opt")
	for _, v := range harness.Minors {
		r, err := harness.FindWhole(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, v), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(r.Etcd, filepath.Join(dir, v, "etcd")); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "{minor}", "etcd")
}

// want writes the version into the file.
func (l *live) want(binary, version string, config ...string) {
	l.c.More = fmt.Sprintf("  etcd {\n    version = %q\n    binary  = %q\n    %s\n  }\n", version, binary, strings.Join(config, "\n    "))
}

// at bootstraps a cluster of n at a version, and starts writers.
func at(t *testing.T, n int, version string) (l *live, binary string) {
	t.Helper()
	e := harness.New(t)
	l = &live{e: e, c: e.Cluster(n)}
	binary = versions(t, e)
	l.want(binary, version)
	e.Apply(l.c.Write().Path())
	l.base = harness.Fill(t, l.c.Endpoints(), keysPerTest)
	l.id = harness.ClusterID(t, l.c.Endpoints())
	l.write(t)
	return l, binary
}

// runs checks that every member runs a minor version, and that writes failed where etcd
// can't help it only: while the lead is handed over a proposal may be dropped (one that a
// follower had sent on is missed after etcd's own 7 s), and a 3.4 that ends may cut a
// connection off in the middle of one. Each writer has one write under way at a time, so
// that each step costs it one at most.
func (l *live) runs(t *testing.T, minor string, moves, stops34 int) {
	t.Helper()
	for _, m := range l.c.Members {
		if v := harness.Status(t, m.Client).Version; !strings.HasPrefix(v, minor+".") {
			t.Errorf("%s runs etcd %s, not %s", m.Name, v, minor)
		}
	}
	for _, w := range l.ws {
		moved, cut := 0, 0
		for _, err := range w.Failed() {
			t.Log(err)
			switch text := err.Error(); {
			case strings.Contains(text, "raft proposal dropped"), strings.Contains(text, "etcdserver: request timed out"):
				moved++
			case strings.Contains(text, "error reading from server: EOF"):
				cut++
			default:
				t.Errorf("a write failed otherwise than by the lead's moving: %v", err)
			}
		}
		if moved > 2*moves || cut > 2*stops34 { // two writers
			t.Errorf("%d writes failed for %d moves of the lead, %d were cut off by %d stops of etcd 3.4", moved, moves, cut, stops34)
		}
	}
}

// From 3.4 to 3.7 it is one changed line, one plan, one apply.
func TestUpgradeOverAllMinors(t *testing.T) {
	t.Parallel()
	l, binary := at(t, 3, "3.4")
	l.want(binary, "3.7")
	if plans := l.becomes(t); len(plans) != 1 {
		t.Errorf("%d plans", len(plans))
	}
	l.runs(t, "3.7", 3, 3)
}

// Killed after any step of a hop, it goes on from there: members of two minors are no
// reason to be refused, nor to be compared wrongly.
func TestUpgradeIsContinued(t *testing.T) {
	t.Parallel()
	for _, hop := range [][2]string{{"3.4", "3.5"}, {"3.5", "3.6"}, {"3.6", "3.7"}} {
		t.Run(hop[1], func(t *testing.T) {
			t.Parallel()
			l, binary := at(t, 3, hop[0])
			l.want(binary, "3.7")
			l.c.Write()
			for _, place := range []int{2, 4, 2} { // one is stopped; is back; and another is stopped
				if p := l.e.Plan(l.c.Path()); p.Route == "start" {
					l.e.Apply(l.c.Path())
				}
				a := l.e.StartApply(nil, l.c.Path())
				if !a.Until(func(j *harness.Journal) bool { return j.Place() >= place }) {
					t.Fatalf("it did not get there\n%s", a.Wait())
				}
				a.Kill()
				p := l.e.Plan(l.c.Path())
				t.Logf("route %s: %s: %s", p.Route, p.Headline, p.Steplist())
				if p.Refusal != nil {
					t.Fatalf("refused: %+v", p.Refusal)
				}
			}
			l.becomes(t)
			l.runs(t, "3.7", 6, 6)
		})
	}
}

// Back by one minor, where etcd offers it; and up again.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	for _, way := range [][2]string{{"3.6", "3.5"}, {"3.7", "3.6"}} {
		t.Run(way[0], func(t *testing.T) {
			t.Parallel()
			l, binary := at(t, 3, way[0])
			l.want(binary, way[1])
			if plans := l.becomes(t); len(plans) != 1 {
				t.Errorf("%d plans", len(plans))
			}
			l.runs(t, way[1], 1, 0)
			l.want(binary, way[0])
			l.write(t)
			l.becomes(t)
			l.runs(t, way[0], 2, 0)
		})
	}
}

// One edit has another version, another peer URL, other settings and two members more;
// and the policy wants a snapshot: one apply, in the right order.
func TestUpgradeWithOtherChanges(t *testing.T) {
	t.Parallel()
	l, binary := at(t, 3, "3.6")
	ports := l.e.Ports(1)
	l.c.Members[1].Peer = ports.URL(0)
	l.more(2)
	l.want(binary, "3.7", "config = { max-request-bytes = 2000000 }")
	l.c.More += "  policy {\n    snapshot_before = \"always\"\n  }\n"
	plans := l.becomes(t)
	if len(plans) != 1 {
		t.Errorf("%d plans", len(plans))
	}
	steps := plans[0].Steplist()
	before := -1
	for _, kind := range []string{"save-snapshot", "update-member", "verify", "add-learner"} {
		at := strings.Index(steps, kind)
		if at <= before {
			t.Errorf("%s does not come where it should: %s", kind, steps)
		}
		before = at
	}
	l.runs(t, "3.7", 2, 0)
}

// A single member that somebody started by hand goes from 3.5 to 3.7: nobody serves while
// it is restarted, and that needs a consent.
func TestUpgradeOfASingleMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	l := &live{e: e, c: e.Cluster(1)}
	binary := versions(t, e)
	l.c.Write()
	e.ByHandOf(harness.Etcd(t, "3.5"), l.c.Members)
	l.base = harness.Fill(t, l.c.Endpoints(), keysPerTest)
	l.want(binary, "3.7")
	l.c.Write()
	e.Run("apply", "--auto-approve", l.c.Path()).Want(t, 6).Says(t, "downtime")
	e.Once(l.c.Path(), "--accept=downtime")
	harness.CheckAll(t, l.base, l.c.Endpoints())
	l.runs(t, "3.7", 0, 0)
}

// A downgrade that was begun and is not wanted any more is called off; one that is
// begun is finished.
func TestDowngradeIsCalledOff(t *testing.T) {
	t.Parallel()
	l, binary := at(t, 3, "3.6")
	l.want(binary, "3.5")
	a := l.e.StartApply(nil, l.c.Write().Path())
	if !a.Until(func(j *harness.Journal) bool { return j.Place() >= 4 }) { // enabled, one is stopped
		t.Fatalf("it did not get there\n%s", a.Wait())
	}
	a.Kill()
	l.want(binary, "3.6")
	plans := l.becomes(t)
	if !strings.Contains(plans[len(plans)-1].Steplist(), "cancel-downgrade") {
		t.Errorf("not called off: %s", plans[len(plans)-1].Steplist())
	}
	l.runs(t, "3.6", 2, 0)
}

// Which minor has which setting: as each etcd itself takes its flags.
func TestSettingsOfEachMinor(t *testing.T) {
	t.Parallel()
	flag := regexp.MustCompile(`(?m)^ *--([a-z0-9-]+)`)
	names, etcds := map[string]bool{}, map[int]string{}
	for i, v := range harness.Minors {
		r, err := harness.FindWhole(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		etcds[4+i] = r.Etcd
		help, _ := exec.CommandContext(t.Context(), r.Etcd, "--help").CombinedOutput()
		for _, m := range flag.FindAllSubmatch(help, -1) {
			names[string(m[1])] = true
		}
	}
	if len(names) < 100 {
		t.Fatalf("only %d settings are told of", len(names))
	}
	for name := range names {
		if strings.HasPrefix(name, "discovery") || name == "version" || name == "help" {
			continue // requorum's own, and none of a member's
		}
		for n, etcd := range etcds {
			out, _ := exec.CommandContext(t.Context(), etcd, "--"+name+"=x", "--version").CombinedOutput()
			has := !strings.Contains(string(out), "not defined")
			if planner.HasSetting(n, name) != has {
				t.Errorf("etcd 3.%d has the setting %s: %v, says etcd itself", n, name, has)
			}
		}
	}
}
