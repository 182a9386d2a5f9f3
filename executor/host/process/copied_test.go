package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// copyTree copies the folder of a member, while it runs, and gives the copy's
// service.
func copyTree(t *testing.T, cfg Config, l host.Layout) (Config, host.Layout) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", filepath.Dir(l.DataDir), to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := filepath.Join(to, filepath.Base(l.DataDir))
	copied := host.LayoutOf(dir, "")
	cleanUp(t, copied)
	cfg.DataDir, cfg.Args = dir, []string{"--data-dir=" + dir}
	return cfg, copied
}

// The files of a copied folder name the original's processes.
func TestCopiedFolder(t *testing.T) {
	for _, supervised := range []bool{true, false} {
		cfg, l := newStandIn(t)
		cfg.Cluster = "prod"
		mustStart(t, cfg, l, Started)
		if !supervised {
			kill9(t, wantService(t, l, planner.ServiceRunning).SupervisorPID)
			eventually(t, "supervisor gone", func() bool { return Status(l).SupervisorPID == 0 })
		}
		before := wantService(t, l, planner.ServiceRunning)
		spared := func() {
			t.Helper()
			if s := wantService(t, l, planner.ServiceRunning); s.PID != before.PID || s.SupervisorPID != before.SupervisorPID {
				t.Fatalf("the original was %+v and is %+v", before, s)
			}
		}
		cfg2, l2 := copyTree(t, cfg, l)
		s := wantService(t, l2, planner.ServiceNone)
		if s.PID != 0 || s.SupervisorPID != 0 || s.Cluster != "prod" || !strings.Contains(s.LastError, l.DataDir) {
			t.Errorf("the copy: %+v", s)
		}
		must(t, Stop(deadline(t), l2))
		spared()
		if Adopt(deadline(t), "", l2) == nil {
			t.Error("adopted the original")
		}
		// A supervisor of the copy killed before it wrote anything: the service is
		// the copy's, the state still the original's.
		must(t, writeJSON(l2.Service(), cfg2))
		if s := Status(l2); s.PID != 0 || s.SupervisorPID != 0 || s.State == planner.ServiceRunning || s.State == planner.ServiceBackoff {
			t.Errorf("the copy: %+v", s)
		}
		must(t, Stop(deadline(t), l2))
		spared()
		mustStart(t, cfg2, l2, Started)
		own := wantService(t, l2, planner.ServiceRunning)
		if own.PID == before.PID || own.SupervisorPID == before.SupervisorPID || own.SupervisorPID == 0 {
			t.Errorf("the copy runs as %+v, the original as %+v", own, before)
		}
		spared()
		must(t, Stop(deadline(t), l2))
		wantService(t, l2, planner.ServiceStopped)
		spared()
	}
}

func TestSupervises(t *testing.T) {
	l := host.LayoutOf("/d/m1", "")
	const bin = "/d/m1.requorum/bin/requorum-0123"
	for args, want := range map[string]bool{
		bin + " agent supervise /d/m1.requorum":                      true,
		bin + " agent supervise /d/m1.requorum/":                     false,
		bin + " agent supervise /d/m2.requorum":                      false,
		bin + " agent supervise /d/m1.requorum more":                 false,
		"/usr/bin/requorum agent supervise /d/m1.requorum":           false,
		"/x/m1.requorum/bin/requorum agent supervise /x/m1.requorum": false,
		bin + " etcd --data-dir=/d/m1":                               false,
		"":                                                           false,
	} {
		if got := supervises(strings.Split(args, " "), l); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}

// A folder that was moved while its member ran: its supervisor is of another
// path, and that is said, for it can't be told from any other.
func TestMovedFolderIsNotStopped(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	before := wantService(t, l, planner.ServiceRunning)
	from, to := filepath.Dir(l.DataDir), filepath.Join(t.TempDir(), "moved")
	move := func(from, to string) {
		t.Helper()
		if out, err := exec.Command("mv", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	move(from, to)
	err := Stop(deadline(t), host.LayoutOf(filepath.Join(to, "m1"), ""))
	move(to, from)
	if err == nil || !strings.Contains(err.Error(), "was the folder moved") {
		t.Errorf("got %v", err)
	}
	if s := wantService(t, l, planner.ServiceRunning); s.PID != before.PID || s.SupervisorPID != before.SupervisorPID {
		t.Errorf("it was %+v and is %+v", before, s)
	}
}

// One file can't take over another's member.
func TestServiceOfAnotherCluster(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started) // as of a version without claims
	cfg.Cluster = "prod"
	mustStart(t, cfg, l, Already)
	before, err := ReadConfig(l)
	must(t, err)
	if s := wantService(t, l, planner.ServiceRunning); s.Cluster != "prod" {
		t.Errorf("%+v", s)
	}
	for _, other := range []string{"test", ""} {
		theirs := cfg
		theirs.Cluster = other
		theirs.Args = append(theirs.Args, "--other")
		if _, err := Start(deadline(t), "", theirs, l); err == nil || !strings.Contains(err.Error(), `belongs to cluster "prod"`) {
			t.Errorf("cluster %q: %v", other, err)
		}
		if now, err := ReadConfig(l); err != nil || !now.equal(before) {
			t.Errorf("cluster %q changed the service: %+v, %v", other, now, err)
		}
	}
}

// A marker that moved aside, for a restore that was begun and abandoned, still
// keeps a lost directory from being bootstrapped again.
func TestMovedMarkerStillCounts(t *testing.T) {
	cfg, l := newStandIn(t)
	cfg.Bootstrap = true
	must(t, os.Mkdir(l.Base(), 0o700))
	must(t, writeJSON(l.Ran()+".one", Ran{Token: "other"}))
	must(t, writeJSON(l.Ran()+".two", Ran{Token: cfg.Token}))
	must(t, exec.Command("rm", "-r", cfg.DataDir).Run())
	_, err := Start(deadline(t), "", cfg, l)
	if err == nil || !strings.Contains(err.Error(), "requorum started etcd on it before") {
		t.Errorf("got %v", err)
	}
}
