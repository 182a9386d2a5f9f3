package bed

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/requorum/requorum/tests/harness"
)

// suite is the Debian that hosts are made of.
const suite = "bookworm"

// included are the packages of a host beside Debian's minimal base. libpam-systemd
// gives each ssh session a scope of its own, as on any installed Debian.
var included = []string{
	"systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "iproute2", "iputils-ping", "procps", "ca-certificates", "sudo",
}

//go:embed base.sh
var baseScript string

// pins names the versions and sums of Debian's etcd packages.
const pins = ".ci/etcd/3.4/SHA256SUMS"

// baseFormat is to be raised where the recipe changes elsewhere than in its key.
const baseFormat = 1

// cacheDir is where the base and the beds' own files are.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "requorum", "bed")
	return dir, os.MkdirAll(dir, 0o700)
}

// base gives the folder of the base root file system, which is made where it is not
// there. One process at a time makes it, and it appears whole or not at all.
func base(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	etcds, err := pinnedPackages()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, baseFormat, suite, runtime.GOARCH, included, etcds, baseScript)
	dir := filepath.Join(cache, fmt.Sprintf("base-%x", h.Sum(nil)[:6]))
	lock, err := os.OpenFile(filepath.Join(cache, "base.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil { // of one that was killed
		return "", err
	}
	if err := makeBase(ctx, part, etcds); err != nil {
		return "", errors.Join(fmt.Errorf("the base of the hosts: %w", err), os.RemoveAll(part))
	}
	return dir, os.Rename(part, dir)
}

// pinnedPackages are Debian's etcd packages as apt names one version: NAME=VERSION.
func pinnedPackages() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(harness.Root(), pins))
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		_, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		parts := strings.Split(file, "_")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s: %q names no package", pins, line)
		}
		out = append(out, parts[0]+"="+parts[1])
	}
	return out, nil
}

func makeBase(ctx context.Context, dir string, etcds []string) error {
	sources, err := machineSources(ctx)
	if err != nil {
		return err
	}
	hook := dir + ".sh"
	if err := os.WriteFile(hook, []byte(baseScript), 0o600); err != nil {
		return err
	}
	defer os.Remove(hook)
	args := []string{
		"--quiet", "--mode=root", "--variant=minbase", "--format=directory",
		"--include=" + strings.Join(append(included, etcds...), ","),
		"--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--customize-hook=sh " + hook + ` "$1"`,
	}
	for _, p := range proxies(ctx) {
		args = append(args, "--aptopt="+p)
	}
	if _, err := runWith(ctx, sources, "mmdebstrap", append(args, suite, dir, "-")...); err != nil {
		return err
	}
	return isPinned(ctx, dir)
}

// isPinned compares Debian's etcd in the base with the one of package harness, whose
// package was checked by its sum.
func isPinned(ctx context.Context, dir string) error {
	want, err := harness.FindEtcd(ctx, "3.4")
	if err != nil {
		return err
	}
	a, err := os.ReadFile(want.Etcd)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, "usr/bin/etcd"))
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("its etcd is not the one that %s pins", pins)
	}
	return nil
}

// machineSources are the machine's own sources of Debian, as a sources.list. Others
// that a machine may have are left out.
func machineSources(ctx context.Context) (string, error) {
	const format = "$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)"
	list := func() (string, error) {
		return run(ctx, "apt-get", "indextargets", "--format", format, "Created-By: Packages")
	}
	text, err := list()
	if err == nil && text == "" { // no lists yet: which source is Debian's stands in them
		if err = harness.Apt(ctx, "", "update"); err == nil {
			text, err = list()
		}
	}
	if err != nil {
		return "", err
	}
	out := sourceLines(text)
	if out == "" {
		return "", fmt.Errorf("this machine's apt has no source of Debian's %s:\n%s", suite, text)
	}
	return out, nil
}

func sourceLines(text string) string {
	signed := ""
	if keys := "/usr/share/keyrings/debian-archive-keyring.gpg"; exists(keys) {
		signed = "[signed-by=" + keys + "] "
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 5 || f[0] != "Debian" || f[4] != "main" {
			continue
		}
		if f[1] == suite || f[1] == suite+"-security" || f[1] == suite+"-updates" {
			fmt.Fprintf(&out, "deb %s%s %s %s\n", signed, f[2], f[1], f[4])
		}
	}
	return out.String()
}

// proxies are the machine's proxies for apt.
func proxies(ctx context.Context) []string {
	text, err := run(ctx, "apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy")
	if err != nil {
		return nil // then there is none, or the download says so
	}
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, `"";`) {
			out = append(out, line)
		}
	}
	return out
}

// owner is the uid and gid of one of the base's users.
func owner(root, user string) (uid, gid int, err error) {
	b, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, ":")
		if f[0] != user || len(f) < 4 {
			continue
		}
		uid, err = strconv.Atoi(f[2])
		if err == nil {
			gid, err = strconv.Atoi(f[3])
		}
		return uid, gid, err
	}
	return 0, 0, fmt.Errorf("the base has no user %s", user)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
