package bed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// home is the controller's home directory.
func (b *Bed) home() string { return b.Path("home") }

// makeController makes the namespaces that the controller's programs run in: its
// network, and mounts that give this user another home directory, for ssh goes by
// the passwd file and not by HOME.
func (b *Bed) makeController(ctx context.Context) error {
	for _, d := range []string{"home/.ssh", "tmp", "etc"} {
		if err := os.MkdirAll(b.Path(d), 0o700); err != nil {
			return err
		}
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	hosts := "127.0.0.1 localhost\n"
	for _, h := range b.hosts {
		hosts += h.Address + " " + h.Name + "\n"
	}
	if err := errors.Join(
		os.WriteFile(b.Path("etc/passwd"), []byte(withHome(string(passwd), b.home())), 0o644),
		os.WriteFile(b.Path("etc/hosts"), []byte(hosts), 0o644),
		os.WriteFile(b.Path("home/.ssh/config"), []byte("Host *\n  IdentitiesOnly yes\n"), 0o600),
	); err != nil {
		return err
	}
	if _, err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "controller", "-f", b.Path("home/.ssh/id_ed25519")); err != nil {
		return err
	}
	netns := filepath.Join(netnsDir, namespace(b.claim.number, Controller))
	b.holder = command(b.ctx, "nsenter", "--net="+netns, "--", "unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", `
for f in passwd hosts; do mount --bind "$1/$f" "/etc/$f"; done
echo ready
exec sleep infinity >/dev/null`, "sh", b.Path("etc"))
	out, err := b.holder.StdoutPipe()
	if err != nil {
		return err
	}
	b.holder.Stderr = os.Stderr
	if err := startIn(b.group.sub(Controller).sub("holder"), b.holder); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("the controller's namespaces: %q, %w", line, err)
	}
	b.net, err = harness.OpenNet(netns, fmt.Sprintf("10.77.%d.0/24", b.claim.number))
	return err
}

// withHome gives root another home directory in a passwd file.
func withHome(passwd, home string) string {
	var out strings.Builder
	for line := range strings.Lines(passwd) {
		if f := strings.Split(line, ":"); f[0] == "root" && len(f) > 6 {
			f[5] = home
			line = strings.Join(f, ":")
		}
		out.WriteString(line)
	}
	return out.String()
}

// Net is the controller's network: harness.StartWritersIn and others take it.
// Addresses of a bed find it by themselves.
func (b *Bed) Net() *harness.Net { return b.net }

// Command is a program on the controller, not started yet: in its network, with its
// own HOME, XDG folders and ssh configuration.
func (b *Bed) Command(ctx context.Context, argv ...string) *exec.Cmd {
	b.t.Helper()
	holder := fmt.Sprintf("/proc/%d/ns/", b.holder.Process.Pid)
	args := append([]string{"--net=" + holder + "net", "--mount=" + holder + "mnt", "--wdns=" + b.home(), "--"}, argv...)
	cmd := command(ctx, "nsenter", args...)
	cmd.Env = b.environ()
	// A process that is left running must not hold on to its streams.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (b *Bed) environ() []string {
	env := []string{
		"HOME=" + b.home(), "USER=root", "LOGNAME=root", "TMPDIR=" + b.Path("tmp"),
		"XDG_STATE_HOME=" + b.State(), "XDG_CACHE_HOME=" + b.Path("home/.cache"), "XDG_CONFIG_HOME=" + b.Path("home/.config"),
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm-256color",
	}
	if d := os.Getenv("GOCOVERDIR"); d != "" {
		env = append(env, "GOCOVERDIR="+d)
	}
	return env
}

// State is the folder of the controller's journal.
func (b *Bed) State() string { return b.Path("home/.local/state") }

// Start starts cmd, made by Command: as one of the controller's processes, which end
// with the bed.
func (b *Bed) Start(cmd *exec.Cmd) {
	b.t.Helper()
	b.must(startIn(b.group.sub(Controller).sub("run"), cmd))
}

// Finish runs cmd, made by Command, to its end.
func (b *Bed) Finish(cmd *exec.Cmd, stdin string) harness.Result {
	b.t.Helper()
	return harness.Finish(b.t, cmd, stdin, func() error { return startIn(b.group.sub(Controller).sub("run"), cmd) })
}

// requorumLimit ends a requorum that hangs.
const requorumLimit = 5 * time.Minute

// Requorum runs requorum on the controller to its end, with nothing on stdin.
func (b *Bed) Requorum(args ...string) harness.Result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, requorumLimit)
	defer cancel()
	r := b.Finish(b.Command(ctx, append([]string{harness.Binary()}, args...)...), "")
	r.Args = args
	return r
}

// Plan runs `requorum plan --json` on path and decodes it.
func (b *Bed) Plan(path string, args ...string) harness.Plan {
	b.t.Helper()
	return harness.DecodePlan(b.t, b.Requorum(append([]string{"plan", "--json", "--detailed-exitcode", path}, args...)...))
}

// KillController kills all that runs on the controller, as its power-off would.
func (b *Bed) KillController() {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	b.must(b.group.sub(Controller).sub("run").kill(ctx))
}

// noStrays fails the test where something of its own still runs on the controller.
func (b *Bed) noStrays() {
	b.t.Helper()
	group := b.group.sub(Controller).sub("run")
	if !exists(string(group)) {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
	defer cancel()
	if group.await(ctx, "populated", false) == nil {
		return
	}
	for _, pid := range group.pids() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		b.t.Errorf("left running on the controller: %d %s", pid, strings.ReplaceAll(string(line), "\x00", " "))
	}
}

// sshGreets says whether the host's sshd answers.
func (h *Host) sshGreets() error {
	var greeting string
	err := h.b.net.Do(func() error {
		conn, err := (&net.Dialer{Timeout: 300 * time.Millisecond}).Dial("tcp4", h.Address+":22")
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		greeting, err = bufio.NewReader(conn).ReadString('\n')
		return err
	})
	if err == nil && !strings.HasPrefix(greeting, "SSH-2.0") {
		err = fmt.Errorf("port 22 says %q", greeting)
	}
	return err
}
