package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/host/ssh"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

func connect(o ssh.Options) error {
	c, err := ssh.Connect(context.Background(), o)
	if err == nil {
		err = c.Close()
	}
	return err
}

// wantTrouble wants a clear error of its own, with the words in it.
func wantTrouble(t *testing.T, err error, want ssh.Trouble, words ...string) {
	t.Helper()
	var e *ssh.Error
	if !errors.As(err, &e) || e.Trouble != want {
		t.Fatalf("want %s, got %v", want, err)
	}
	t.Logf("%s: %v", want, err)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in %q", w, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in runs shell on the host's side.
func in(t *testing.T, s *harness.SSHD, script string) string {
	t.Helper()
	out, err := s.In(script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(out)
}

func TestPlacedOnceAndFound(t *testing.T) {
	s := harness.StartSSHD(t, harness.SSHDOptions{})
	sum, err := program.Sum()
	must(t, err)
	placed := 0
	o := to(s)
	o.Placed = func(path string) {
		placed++
		if path != ssh.AgentDir+"/"+sum {
			t.Errorf("placed at %s", path)
		}
	}
	for range 2 {
		must(t, connect(o))
	}
	if placed != 1 {
		t.Errorf("placed %d times", placed)
	}
	list := in(t, s, "cd "+ssh.AgentDir+" && stat -c '%a %U %n' . && stat -c '%a %U %n' .[!.]* * 2>/dev/null || :")
	if want := "700 root .\n700 root " + sum; list != want {
		t.Errorf("there is\n%s\nwant\n%s", list, want)
	}
	// Edited since, cut short, or replaced by a link: it is not run, but placed anew.
	for i, spoil := range []string{
		"printf x >>" + sum, "head -c 1000 " + sum + " >x && cat x >" + sum + " && rm x", "mv " + sum + " x && ln -s x " + sum, "chmod 600 " + sum, "rm " + sum,
	} {
		in(t, s, "cd "+ssh.AgentDir+" && "+spoil)
		must(t, connect(o))
		if placed != i+2 {
			t.Errorf("after %q: placed %d times", spoil, placed)
		}
	}
}

func TestNoInstall(t *testing.T) {
	s := harness.StartSSHD(t, harness.SSHDOptions{Setup: "mkdir /run/bin", Env: []string{"PATH=/run/bin:/usr/bin:/bin"}})
	o := to(s)
	o.NoInstall = true
	wantTrouble(t, connect(o), ssh.NotPlaced, "--no-install")
	if out := in(t, s, "ls -A /var/lib"); out != "" {
		t.Errorf("placed all the same: %s", out)
	}
	self, err := os.Executable()
	must(t, err)
	in(t, s, "cp "+self+" /run/bin/requorum")
	must(t, connect(o)) // found in PATH, by its sum
	in(t, s, "printf x >>/run/bin/requorum")
	wantTrouble(t, connect(o), ssh.NotPlaced)
}

func TestTroubles(t *testing.T) {
	t.Parallel()
	s := harness.StartSSHD(t, harness.SSHDOptions{Users: map[string]string{"ops": "/bin/sh", "nobodyshell": "/bin/false"}})
	t.Run("host key not known", func(t *testing.T) {
		must(t, s.Trust(""))
		wantTrouble(t, connect(to(s)), ssh.HostKey, "not known")
	})
	t.Run("host key changed", func(t *testing.T) {
		must(t, s.Trust("other_key"))
		wantTrouble(t, connect(to(s)), ssh.HostKey, "not the one")
	})
	t.Run("host key not checked by the user's configuration", func(t *testing.T) {
		o := to(s)
		o.SSH.Command = append(o.SSH.Command, "-o", "CheckHostIP=no")
		b, err := os.ReadFile(s.Config)
		must(t, err)
		lax := filepath.Join(t.TempDir(), "config")
		must(t, os.WriteFile(lax, append([]byte("StrictHostKeyChecking no\n"), b...), 0o600))
		o.SSH.Command[2] = lax
		wantTrouble(t, connect(o), ssh.HostKey)
		must(t, s.Trust("host_key"))
	})
	t.Run("user not accepted", func(t *testing.T) {
		o := to(s)
		o.SSH.User = "stranger"
		wantTrouble(t, connect(o), ssh.Denied, "Permission denied")
	})
	t.Run("key not accepted", func(t *testing.T) {
		o := to(s)
		o.SSH.Command = []string{"ssh", "-F", s.Config, "-i", filepath.Join(s.Dir, "none")}
		b, err := os.ReadFile(s.Config)
		must(t, err)
		other := filepath.Join(t.TempDir(), "config")
		must(t, os.WriteFile(other, []byte(strings.ReplaceAll(string(b), "user_key", "other_key")), 0o600))
		o.SSH.Command = []string{"ssh", "-F", other}
		wantTrouble(t, connect(o), ssh.Denied, "Permission denied")
	})
	t.Run("no sudo", func(t *testing.T) {
		o := to(s)
		o.SSH.User = "ops"
		wantTrouble(t, connect(o), ssh.NoSudo, "ops")
	})
	t.Run("no shell", func(t *testing.T) {
		o := to(s)
		o.SSH.User = "nobodyshell"
		wantTrouble(t, connect(o), ssh.NotReady, "shell")
	})
	t.Run("no ssh here", func(t *testing.T) {
		o := to(s)
		o.SSH.Command = []string{"ssh-that-is-not-there"}
		wantTrouble(t, connect(o), ssh.NoCommand, "ssh-that-is-not-there")
	})
	t.Run("nobody listens", func(t *testing.T) {
		o := to(s)
		o.SSH.Port = 1
		wantTrouble(t, connect(o), ssh.Unreachable, "refused")
	})
	t.Run("name does not resolve", func(t *testing.T) {
		o := to(s)
		o.Address = "no-such-host.invalid"
		wantTrouble(t, connect(o), ssh.Unreachable, "does not resolve")
	})
	t.Run("hangs", func(t *testing.T) {
		o := to(s)
		o.SSH.Command = []string{"sh", "-c", "sleep 60"}
		o.Limit = 500 * time.Millisecond
		began := time.Now()
		wantTrouble(t, connect(o), ssh.Unreachable, "no answer within 500ms")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		o := to(s)
		o.SSH.Command = []string{"sh", "-c", "yes requorum-agentx; :"}
		wantTrouble(t, connect(o), ssh.NotReady, "requorum-agentx")
	})
	t.Run("a lying host", func(t *testing.T) {
		o := to(s)
		o.SSH.Command = []string{"sh", "-c", `echo 'requorum-place system Linux x86_64 0'; echo 'requorum-place ready'; echo 'requorum-place found /x'; echo 'requorum-agent {"protocol":99}'`}
		wantTrouble(t, connect(o), ssh.OtherSystem, "version 99")
		o.SSH.Command[2] = `echo 'requorum-place system Linux x86_64 0'; echo 'requorum-place ready'; echo 'requorum-place found /x'; echo 'requorum-agent [[['`
		wantTrouble(t, connect(o), ssh.Died)
	})
	must(t, connect(to(s)))
}

// A shell that talks: before, and with bytes that are no text.
func TestBanner(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	talker := filepath.Join(dir, "talker")
	must(t, os.WriteFile(talker, []byte("#!/bin/sh\nprintf 'Welcome to m1\\n\\000\\377 no newline at the end'\nexec /bin/sh \"$@\"\n"), 0o755))
	s := harness.StartSSHD(t, harness.SSHDOptions{Users: map[string]string{"talks": talker}, Setup: "sed 's/^talks:[*]:[0-9]*/talks:*:0/' /etc/passwd >/run/passwd; cat /run/passwd >/etc/passwd"})
	o := to(s)
	o.SSH.User = "talks"
	must(t, connect(o))
}

func TestOtherSystem(t *testing.T) {
	fake := "mkdir /run/bin; printf '#!/bin/sh\\ncase $1 in -m) echo aarch64;; *) exec /bin/uname \"$@\";; esac\\n' >/run/bin/uname; chmod 755 /run/bin/uname"
	s := harness.StartSSHD(t, harness.SSHDOptions{Setup: fake, Env: []string{"PATH=/run/bin:/usr/bin:/bin"}})
	wantTrouble(t, connect(to(s)), ssh.OtherSystem, "Linux on aarch64", "install requorum test for linux/arm64")
	self, err := os.Executable()
	must(t, err)
	in(t, s, "cp "+self+" /run/bin/requorum")
	must(t, connect(to(s))) // one that was installed there, of this version
	o := to(s)
	o.Version = "other"
	wantTrouble(t, connect(o), ssh.OtherSystem, "it is requorum test, and this one is other")
}

func TestFullAndNoExec(t *testing.T) {
	full := harness.StartSSHD(t, harness.SSHDOptions{Setup: "mount -t tmpfs -o size=1m tmpfs /var/lib"})
	wantTrouble(t, connect(to(full)), ssh.Full, "No space left")
	if out := in(t, full, "find "+ssh.AgentDir+" -type f"); out != "" {
		t.Errorf("left behind: %s", out)
	}
	noexec := harness.StartSSHD(t, harness.SSHDOptions{Setup: "mount -t tmpfs -o noexec tmpfs /var/lib"})
	wantTrouble(t, connect(to(noexec)), ssh.NoExec, "noexec")
	file := harness.StartSSHD(t, harness.SSHDOptions{Setup: "mkdir /var/lib/requorum; touch " + ssh.AgentDir})
	wantTrouble(t, connect(to(file)), ssh.NotReady, ssh.AgentDir)
	theirs := harness.StartSSHD(t, harness.SSHDOptions{Setup: "mkdir -p " + ssh.AgentDir + "; chown 60001 " + ssh.AgentDir})
	wantTrouble(t, connect(to(theirs)), ssh.NotReady, "somebody else's")
}

// Two operators at once on a host that has no agent yet: each ends up with a whole
// one, and one lock.
func TestTwoOperators(t *testing.T) {
	s := harness.StartSSHD(t, harness.SSHDOptions{})
	places := []planner.Place{{Name: "m1", DataDir: filepath.Join(t.TempDir(), "m1")}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var got []host.Lock
	var refused int
	for i := range 4 {
		r := remote(t, to(s))
		wg.Go(func() {
			l, err := r.Lock(t.Context(), places, host.Holder{Who: fmt.Sprint("operator ", i)})
			mu.Lock()
			defer mu.Unlock()
			var locked *host.LockedError
			switch {
			case err == nil:
				got = append(got, l)
			case errors.As(err, &locked):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(got) != 1 || refused != 3 {
		t.Fatalf("%d got the lock, %d were refused", len(got), refused)
	}
	must(t, got[0].Release())
}

// The connection is cut while a lock is held: it is taken again, under the same
// name, and acts go on.
func TestCutConnection(t *testing.T) {
	s := harness.StartSSHD(t, harness.SSHDOptions{})
	r := remote(t, to(s))
	places := []planner.Place{{Name: "m1", DataDir: filepath.Join(t.TempDir(), "m1")}}
	me := host.Holder{Who: "ann@here", PID: 7, Operation: "apply", Cluster: "c", Since: "2026-01-02T03:04:05Z"}
	l, err := r.Lock(t.Context(), places, me)
	must(t, err)
	for range 2 {
		s.Cut()
		must(t, l.Held(t.Context()))
		if _, err := remote(t, to(s)).Lock(t.Context(), places, host.Holder{Who: "bob"}); err == nil {
			t.Fatal("somebody else got the lock")
		}
	}
	s.Cut()
	f, err := r.Observe(t.Context(), places)
	must(t, err)
	if d := f["m1"].Data; !d.Known() {
		t.Errorf("%+v", d)
	}
	must(t, l.Held(t.Context()))

	// Another one is faster: the lock is lost, and nothing more is done.
	s.Cut()
	var theirs host.Lock
	for end := time.Now().Add(10 * time.Second); theirs == nil && time.Now().Before(end); {
		theirs, _ = local.New(local.Options{}).Lock(t.Context(), places, host.Holder{Who: "bob"})
	}
	if theirs == nil {
		t.Fatal("the lock of a connection that was cut did not come free")
	}
	if err := l.Held(t.Context()); err == nil || !strings.Contains(err.Error(), "bob") {
		t.Errorf("held: %v", err)
	}
	if err := r.Claim(t.Context(), planner.Claim{}); err == nil || !strings.Contains(err.Error(), "bob") {
		t.Errorf("an act after the lock was lost: %v", err)
	}
	must(t, theirs.Release())
	if err := l.Held(t.Context()); err == nil {
		t.Error("a lost lock came back")
	}
	must(t, l.Release())
}

// An sshd that is gone for a while is waited for.
func TestServerRestarts(t *testing.T) {
	s := harness.StartSSHD(t, harness.SSHDOptions{Setup: "mount --bind " + t.TempDir() + " /var/lib"})
	r := remote(t, to(s))
	places := []planner.Place{{Name: "m1", DataDir: filepath.Join(t.TempDir(), "m1")}}
	l, err := r.Lock(t.Context(), places, host.Holder{Who: "me"})
	must(t, err)
	s.Cut()
	s.Stop()
	back := time.AfterFunc(2*time.Second, s.Start)
	defer back.Stop()
	must(t, l.Held(t.Context()))
	must(t, l.Release())
}
