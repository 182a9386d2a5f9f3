package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SSHD is a real sshd of a test's own on 127.0.0.1, in a mount namespace of its own:
// whoever logs in has an empty /var/lib, and users that the test names. All other
// files are this machine's.
type SSHD struct {
	Port int
	// Config is an ssh client configuration that leads here: ssh -F Config host.
	Config string
	// Dir has the keys, known_hosts, the server's configuration and its log.
	Dir string

	t   testing.TB
	cmd *exec.Cmd
}

// SSHDOptions are what is not as usual.
type SSHDOptions struct {
	// Users are further users, each with a shell of its own that may be a script;
	// root is there. They have no sudo.
	Users map[string]string
	// Setup is shell that runs in the mount namespace before sshd, as root.
	Setup string
	// Env is set for everybody who logs in, as NAME=value.
	Env []string
}

// StartSSHD starts one, which ends with the test. It needs root.
func StartSSHD(t testing.TB, o SSHDOptions) *SSHD {
	t.Helper()
	dir, err := os.MkdirTemp("", "requorum-sshd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })      // keys and logs of this test
	if err := os.Chmod(dir, 0o755); err != nil { // sshd reads the keys as who logs in
		t.Fatal(err)
	}
	ports, err := ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	s := &SSHD{Port: ports.Numbers[0], Dir: dir, Config: filepath.Join(dir, "ssh_config"), t: t}
	if err := s.write(o); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

func (s *SSHD) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *SSHD) write(o SSHDOptions) error {
	for _, key := range []string{"host_key", "user_key", "other_key"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", s.path(key)).CombinedOutput(); err != nil {
			return fmt.Errorf("ssh-keygen: %w\n%s", err, out)
		}
	}
	pub, err := os.ReadFile(s.path("user_key.pub"))
	if err != nil {
		return err
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	if !bytes.Contains(passwd, []byte("\nsshd:")) {
		passwd = append(passwd, "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"...)
	}
	uid := 60001
	for name, shell := range o.Users {
		passwd = fmt.Appendf(passwd, "%s:*:%d:65534::/tmp:%s\n", name, uid, shell)
		uid++
	}
	config := fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
UseDNS no
MaxStartups 100
MaxSessions 100
`, s.Port, s.path("host_key"), s.path("authorized_keys"))
	if len(o.Env) > 0 {
		config += "SetEnv " + strings.Join(o.Env, " ") + "\n"
	}
	client := fmt.Sprintf(`Host host
  HostName 127.0.0.1
  HostKeyAlias requorum-test
Host *
  Port %d
  User root
  IdentityFile %s
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  ControlPath none
`, s.Port, s.path("user_key"), s.path("known_hosts"))
	setup := "set -e\nmount --bind " + s.path("passwd") + " /etc/passwd\nmount -t tmpfs tmpfs /var/lib\nmount -t tmpfs -o mode=755 tmpfs /run\nmkdir /run/sshd\n" +
		o.Setup + "\nexec \"$0\" -D -e -f " + s.path("sshd_config") + "\n"
	for name, text := range map[string]string{
		"authorized_keys": string(pub), "passwd": string(passwd), "sshd_config": config, "ssh_config": client, "setup.sh": setup,
	} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return s.Trust("host_key")
}

// Trust makes a key the one that clients know the host by; "" makes them know none.
func (s *SSHD) Trust(key string) error {
	line := []byte{}
	if key != "" {
		pub, err := os.ReadFile(s.path(key + ".pub"))
		if err != nil {
			return err
		}
		line = append([]byte("requorum-test,[127.0.0.1]:"+fmt.Sprint(s.Port)+" "), pub...)
	}
	return os.WriteFile(s.path("known_hosts"), line, 0o600)
}

// Start starts the server and waits until it answers.
func (s *SSHD) Start() {
	s.t.Helper()
	sshd, env, err := findSSHD()
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", `. "$1"`, sshd, s.path("setup.sh"))
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Env = log, log, append(os.Environ(), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			s.Stop()
			s.t.Fatalf("sshd does not answer (are you root?):\n%s", s.Log())
		}
	}
}

// Stop ends the server, and leaves connections be.
func (s *SSHD) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Cut kills the processes of all connections, as a network that breaks does: both
// sides are left to find out.
func (s *SSHD) Cut() {
	for _, pid := range s.sessions() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// sessions are sshd's processes for connections.
func (s *SSHD) sessions() []int {
	if s.cmd == nil {
		return nil
	}
	out, _ := exec.Command("pgrep", "-P", fmt.Sprint(s.cmd.Process.Pid)).Output()
	var pids []int
	for f := range strings.FieldsSeq(string(out)) {
		var pid int
		if _, err := fmt.Sscan(f, &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// In runs shell in the server's mount namespace.
func (s *SSHD) In(script string) (string, error) {
	out, err := exec.Command("nsenter", "-m", "-t", fmt.Sprint(s.cmd.Process.Pid), "sh", "-c", script).CombinedOutput()
	return string(out), err
}

// Log is what sshd said.
func (s *SSHD) Log() string {
	b, _ := os.ReadFile(s.path("log"))
	return string(b)
}

var sshdFound = sync.OnceValues(func() (string, error) {
	for _, p := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return unpackedSSHD()
})

// findSSHD gives the server's path, and what it needs in its environment.
func findSSHD() (string, []string, error) {
	path, err := sshdFound()
	if err != nil {
		return "", nil, fmt.Errorf("no sshd: %w", err)
	}
	if root, ok := strings.CutSuffix(path, "/usr/sbin/sshd"); ok && root != "" {
		lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
		if dirs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu")); len(dirs) > 0 {
			lib = dirs[0]
		}
		return path, []string{"LD_LIBRARY_PATH=" + lib}, nil
	}
	return path, nil, nil
}

// unpackedSSHD takes Debian's openssh-server apart in the user's cache folder: to
// install it would start one on this machine. apt checks whose package it is.
func unpackedSSHD() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "requorum")
	dir := filepath.Join(cache, "sshd")
	if exists(filepath.Join(dir, "usr/sbin/sshd")) {
		return filepath.Join(dir, "usr/sbin/sshd"), nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(cache, "sshd-part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part) // nothing is left of it once it has its name
	if err := Apt(context.Background(), part, "download", "openssh-server", "libwrap0"); err != nil {
		return "", fmt.Errorf("install openssh-server, or have it downloaded (a Debian with package lists and a network): %w", err)
	}
	cmd := exec.Command("sh", "-ec", "for f in *.deb; do dpkg-deb -x $f .; rm $f; done")
	cmd.Dir = part
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("openssh-server can't be unpacked: %w\n%s", err, out)
	}
	err = os.Rename(part, dir)
	if err != nil && exists(filepath.Join(dir, "usr/sbin/sshd")) {
		err = nil // another test was faster
	}
	return filepath.Join(dir, "usr/sbin/sshd"), errors.Join(err)
}
