package bed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/tests/harness"
)

// held is set in the environment of a test binary that only makes a bed and waits.
const held = "REQUORUM_BED_HELD"

// TestHeld is no test of its own: it is what TestKilled kills.
func TestHeld(t *testing.T) {
	if os.Getenv(held) == "" {
		return
	}
	b := New(t, Options{Hosts: 1})
	fmt.Printf("\nbed %d %s %d\n", b.claim.number, b.Dir, b.watcher.Process.Pid)
	time.Sleep(time.Minute)
}

// What a test leaves that was killed is taken away at once; where that was prevented
// too, by the next one.
func TestKilled(t *testing.T) {
	onlyFull(t)
	for _, watched := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched=%t", watched), func(t *testing.T) {
			t.Parallel()
			number, dir, watcher, child := holdBed(t)
			if left := leftOf(number, dir); len(left) < 5 {
				t.Fatalf("a bed that stands has only %v", left)
			}
			if !watched {
				if err := unix.Kill(watcher, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait()
			if watched {
				for end := time.Now().Add(20 * time.Second); len(leftOf(number, dir)) > 0 && time.Now().Before(end); {
					time.Sleep(10 * time.Millisecond)
				}
			} else {
				time.Sleep(300 * time.Millisecond)
				if left := leftOf(number, dir); len(left) < 5 {
					t.Errorf("who took the rest away? %v is left", left)
				}
				if err := Sweep(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if left := leftOf(number, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// holdBed starts a test binary that has a bed.
func holdBed(t *testing.T) (number int, dir string, watcher int, child *exec.Cmd) {
	t.Helper()
	child = exec.Command(os.Args[0], "-test.run=^TestHeld$")
	child.Env = append(os.Environ(), held+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if n, _ := fmt.Sscanf(lines.Text(), "bed %d %s %d", &number, &dir, &watcher); n == 3 {
			return number, dir, watcher, child
		}
	}
	t.Fatal("it made no bed")
	return 0, "", 0, nil
}

// leftOf is all that the machine still has of a bed.
func leftOf(number int, dir string) []string {
	var out []string
	if exists(dir) {
		out = append(out, dir)
	}
	if g, err := cgroupOf(number); err != nil || exists(string(g)) {
		out = append(out, string(g))
	}
	nets, _ := filepath.Glob(filepath.Join(netnsDir, namespace(number, "*")))
	out = append(append(out, nets...), loops(dir)...)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir+"/") {
			out = append(out, line)
		}
	}
	return out
}

// A test that fails or panics leaves nothing either.
func TestFailed(t *testing.T) {
	onlyFull(t)
	for name, end := range map[string]func(testing.TB){
		"fatal": func(t testing.TB) { t.Fatal("as planned") },
		"panic": func(testing.TB) { panic("as planned") },
		"off":   func(testing.TB) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var number int
			var dir string
			log, err := harness.Outside(context.Background(), name, func(t testing.TB) {
				b := New(t, Options{Hosts: 1})
				number, dir = b.claim.number, b.Dir
				if name == "off" {
					b.PowerOff()
				}
				end(t)
			}, nil)
			if failed := err != nil && strings.Contains(err.Error(), "as planned"); failed != (name != "off") {
				t.Errorf("%v\n%s", err, log)
			}
			if left := leftOf(number, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A process that requorum would leave on the controller is seen.
func TestStray(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	_, err := harness.Outside(context.Background(), "stray", func(t testing.TB) {
		b := New(t, Options{Hosts: 1, Off: true})
		b.Finish(b.Command(b.ctx, "sh", "-c", "sleep 100 >/dev/null 2>&1 &"), "").Want(t, 0)
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "left running on the controller") || !strings.Contains(err.Error(), "sleep 100") {
		t.Errorf("%v", err)
	}
}

// Where a bed can't be made, the error says why.
func TestNotHere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(file, []byte("PRETTY_NAME=\"Something 7\"\nID=something\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := isDebian12(file); err == nil || !strings.Contains(err.Error(), "Debian 12") || !strings.Contains(err.Error(), "Something 7") {
		t.Errorf("%v", err)
	}
	if err := isDebian12(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Only Debian's own sources make a base.
func TestSources(t *testing.T) {
	got := sourceLines(`Debian bookworm mirror/debian/ bookworm main
Debian bookworm-security mirror/security/ bookworm-security main
Debian bookworm mirror/debian/ bookworm contrib
Debian trixie mirror/debian/ trixie main
. nodistro mirror/other nodistro main
`)
	if n := strings.Count(got, "\n"); n != 2 || !strings.Contains(got, "mirror/debian/ bookworm main\n") || !strings.Contains(got, "mirror/security/ bookworm-security main\n") {
		t.Errorf("%q", got)
	}
}
