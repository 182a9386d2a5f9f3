package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// programs are what a bed runs on the machine, with the Debian package of each.
var programs = []struct{ name, from string }{
	{"systemd-nspawn", "systemd-container"},
	{"mmdebstrap", "mmdebstrap"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"tc", "iproute2"},
	{"ssh", "openssh-client"},
	{"ssh-keygen", "openssh-client"},
	{"mkfs.ext4", "e2fsprogs"},
	{"mkfs.xfs", "xfsprogs"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"mount", "mount"},
}

// ready says what is missing to make beds on this machine, and installs what can be.
func ready(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a bed of hosts needs root, and this is uid %d: run the tests as root on a Debian 12 (REQUORUM_E2E=off leaves them out)", os.Geteuid())
	}
	if err := isDebian12("/etc/os-release"); err != nil {
		return err
	}
	if _, err := cgroupRoot(); err != nil {
		return err
	}
	var missing []string
	for _, p := range programs {
		if _, err := look(p.name); err != nil {
			missing = append(missing, p.from)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return aptInstall(ctx, missing)
}

func isDebian12(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("which system this is: %w", err)
	}
	has := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		has[name] = strings.Trim(value, `"`)
	}
	if has["ID"] != "debian" || has["VERSION_CODENAME"] != suite {
		return fmt.Errorf("a bed of hosts is made from the packages of Debian 12 (%s), and this is %s", suite, has["PRETTY_NAME"])
	}
	return nil
}

// aptInstall installs packages, with fresh lists where the old ones don't serve.
func aptInstall(ctx context.Context, packages []string) error {
	install := append([]string{"-q", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends"}, packages...)
	_, err := run(ctx, "apt-get", install...)
	if err != nil {
		if _, again := run(ctx, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "update"); again != nil {
			return fmt.Errorf("%w; and %w", err, again)
		}
		_, err = run(ctx, "apt-get", install...)
	}
	return err
}

// sbin is where some of the programs are, which is not on everybody's PATH.
const sbin = "/usr/local/sbin:/usr/sbin:/sbin"

func look(name string) (string, error) {
	for _, dir := range append(strings.Split(sbin, ":"), strings.Split(os.Getenv("PATH"), ":")...) {
		if path, err := exec.LookPath(dir + "/" + name); err == nil && dir != "" {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// command is a program of the machine's.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, err := look(name)
	if err != nil {
		path = name // exec says what is wrong
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+sbin, "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	return cmd
}

// run runs a program of the machine's and gives what it wrote to stdout.
func run(ctx context.Context, name string, args ...string) (string, error) {
	return runWith(ctx, "", name, args...)
}

// runWith is run with a text on stdin.
func runWith(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := command(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(errs.String()+out.String(), 20))
	}
	return out.String(), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
