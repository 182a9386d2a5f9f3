package hosttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// byHand starts a command in its own folder, as a person would; it is ended with
// the test. The program that runs the suite has to be etcd, as "etcd ARGS".
func byHand(t *testing.T, dir string, env []string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // this test's own group
		<-ended
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%q: %s", argv, b[max(0, len(b)-2000):])
		}
		log.Close()
	})
	return cmd
}

func etcdCommand(t *testing.T) []string {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	return []string{exe, "etcd"}
}

const quota = "--quota-backend-bytes=123456789"

// settings of the first member, with a relative data directory and something that
// no file names.
func (c *cluster) handSettings(token string) map[string]string {
	out := map[string]string{"quota-backend-bytes": "123456789"}
	for _, a := range c.start(token, true)[0].Args {
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		out[name] = value
	}
	out["data-dir"] = filepath.Base(out["data-dir"])
	return out
}

// adoptsForeign takes over etcds that were started by hand in several ways.
func adoptsForeign(t *testing.T, newHost func(*testing.T) host.Host) {
	for name, how := range map[string]func(t *testing.T, dir string, set map[string]string){
		"flags": func(t *testing.T, dir string, set map[string]string) {
			argv := etcdCommand(t)
			for name, value := range set {
				argv = append(argv, "-"+name, value)
			}
			byHand(t, dir, []string{"ETCD_SERVICE_PORT=tcp://1.2.3.4:5"}, argv...)
		},
		"environment": func(t *testing.T, dir string, set map[string]string) {
			var env []string
			for name, value := range set {
				env = append(env, "ETCD_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+value)
			}
			byHand(t, dir, env, etcdCommand(t)...)
		},
		"file": func(t *testing.T, dir string, set map[string]string) {
			text := "initial-election-tick-advance: true\nlog-outputs: [stderr]\n"
			for name, value := range set {
				text += fmt.Sprintf("%s: %s\n", name, value)
			}
			must(t, os.WriteFile(filepath.Join(dir, "etcd.yaml"), []byte(text), 0o600))
			byHand(t, dir, []string{"ETCD_QUOTA_BACKEND_BYTES=1"}, append(etcdCommand(t), "--quota-backend-bytes=2", "--config-file", "etcd.yaml")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, dir := newHost(t), t.TempDir()
			c := newCluster(t, dir, 1)
			stopAtEnd(t, h, c)
			how(t, dir, c.handSettings("token-hand"))
			c.serves(t)
			c.adoptForeign(t, h)
		})
	}
}

func (c *cluster) adoptForeign(t *testing.T, h host.Host) {
	t.Helper()
	f := c.observe(t, h)["m1"].Service.Value.Foreign
	if f == nil || f.Problem != "" || f.Keeper != "" || f.Settings["data-dir"] != c.places[0].DataDir ||
		f.Settings["quota-backend-bytes"] != "123456789" || f.Settings["listen-client-urls"] != c.client[0] || f.Settings["service-port"] != "" {
		t.Fatalf("%+v", f)
	}
	start := c.start("token-hand", false)[0]
	start.Args, start.Carried = append(start.Args, quota), []string{quota}
	good := planner.AdoptMember{StartMember: start, PID: f.PID, Start: f.Start}
	later, others := good, good
	later.Start++
	others.MemberID = "beef"
	for what, m := range map[string]planner.AdoptMember{"another process of that pid": later, "another member": others} {
		if h.Adopt(ctx(t), []planner.AdoptMember{m}) == nil {
			t.Errorf("%s was adopted", what)
		}
	}
	for range 2 {
		must(t, h.Adopt(ctx(t), []planner.AdoptMember{good}))
	}
	running := func(what string) planner.Service {
		t.Helper()
		s := c.observe(t, h)["m1"].Service.Value
		if s.State != planner.ServiceRunning || s.PID != f.PID || s.Foreign != nil || s.SupervisorPID == 0 || s.Cluster != clusterName ||
			!slices.Equal(s.Carried, []string{quota}) || !slices.Contains(s.Args, quota) || !slices.Contains(s.Args, "--data-dir="+c.places[0].DataDir) {
			t.Fatalf("%s: %+v", what, s)
		}
		return s
	}
	one := running("adopted")
	must(t, syscall.Kill(one.SupervisorPID, syscall.SIGKILL))
	eventually(t, "its supervisor is gone", func() bool { return c.observe(t, h)["m1"].Service.Value.SupervisorPID == 0 })
	must(t, h.Adopt(ctx(t), c.adopts()))
	running("adopted again")
	must(t, syscall.Kill(f.PID, syscall.SIGKILL))
	eventually(t, "the supervisor starts it", func() bool {
		s := c.observe(t, h)["m1"].Service.Value
		return s.State == planner.ServiceRunning && s.PID != f.PID
	})
	c.serves(t)
	if s := c.observe(t, h)["m1"].Service.Value; !slices.Equal(s.Args, start.Args) || s.Foreign != nil {
		t.Errorf("started again: %+v", s)
	}
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
}

// keptForeign has a process that somebody else starts again, and one that would
// expel the others; both are stopped when that is asked for by name.
func keptForeign(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 1)
	args := c.start("token-hand", true)[0].Args
	keeper := filepath.Join(dir, "supervisord")
	must(t, os.WriteFile(keeper, []byte("#!/bin/sh\n\"$@\"\nexit 0\n"), 0o755))
	for _, c2 := range []struct {
		what string
		argv []string
	}{
		{"supervisord", slices.Concat([]string{keeper}, etcdCommand(t), args)},
		{"force-new-cluster", slices.Concat(etcdCommand(t), args, []string{"--force-new-cluster"})},
	} {
		byHand(t, dir, nil, c2.argv...)
		c.serves(t)
		f := c.observe(t, h)["m1"].Service.Value.Foreign
		if f == nil {
			t.Fatal("nothing foreign is seen")
		}
		err := h.Adopt(ctx(t), []planner.AdoptMember{{StartMember: c.start("token-hand", false)[0], PID: f.PID, Start: f.Start}})
		if err == nil || !strings.Contains(err.Error(), c2.what) {
			t.Errorf("%s: %v", c2.what, err)
		}
		must(t, h.Stop(ctx(t), clusterName, c.stops())) // it is not named: nothing
		stop := planner.StopMember{Place: c.places[0], PID: f.PID, Start: f.Start + 1}
		if h.Stop(ctx(t), clusterName, []planner.StopMember{stop}) == nil {
			t.Error("another process of that pid was stopped")
		}
		stop.Start--
		c.serves(t)
		must(t, h.Stop(ctx(t), clusterName, []planner.StopMember{stop}))
		must(t, h.Stop(ctx(t), clusterName, []planner.StopMember{stop}))
		if facts := c.observe(t, h)["m1"]; facts.Data.Value.HeldBy != 0 || facts.Service.Value.Foreign != nil {
			t.Errorf("%+v", facts)
		}
	}
}
