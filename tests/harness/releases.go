package harness

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/version"
)

// Minors are the minor versions of etcd that tests run, the oldest first.
var Minors = []string{"3.4", "3.5", "3.6", "3.7"}

// Release is the real etcd of one minor version, with its commands.
type Release struct {
	Minor, Version string
	// Etcd is the server; "" for the one inside requorum.
	Etcd string
	// Etcdctl and Etcdutl are its own commands. There is no etcdutl of 3.4, whose
	// etcdctl restores.
	Etcdctl, Etcdutl string
}

// Command is the beginning of the server's command line.
func (r Release) Command() []string {
	if r.Etcd == "" {
		return []string{Binary(), "etcd"}
	}
	return []string{r.Etcd}
}

// Block is the etcd block of a file whose members run this release; empty for the
// etcd inside requorum.
func (r Release) Block() string {
	if r.Etcd == "" {
		return ""
	}
	return fmt.Sprintf("  etcd { binary = %q }\n", r.Etcd)
}

// Inside is the etcd inside requorum, without etcd's commands: nothing has to be
// built for it.
func Inside() Release { return Release{Minor: Minors[len(Minors)-1], Version: version.Version} }

// Etcd gives the release of a minor version ("3.5"). The first time on a machine it
// is built from Go modules, or for 3.4 unpacked from Debian's packages, into the
// user's cache folder; what it is made of is pinned below .ci/etcd by version and
// sum. Where that can't be had the test fails: it is not skipped.
func Etcd(t testing.TB, minor string) Release {
	t.Helper()
	r, err := FindEtcd(t.Context(), minor)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var found = struct {
	sync.Mutex
	of map[string]Release
}{of: map[string]Release{}}

// FindEtcd is Etcd for those that have no test.
func FindEtcd(ctx context.Context, minor string) (Release, error) {
	found.Lock()
	defer found.Unlock()
	if r, ok := found.of[minor]; ok {
		return r, nil
	}
	r, err := findEtcd(ctx, minor)
	if err != nil {
		return r, fmt.Errorf("etcd %s: %w", minor, err)
	}
	found.of[minor] = r
	return r, nil
}

// FindWhole is FindEtcd with a server that is a program of its own in every version,
// also where Etcd has the one inside requorum.
func FindWhole(ctx context.Context, minor string) (Release, error) {
	r, err := FindEtcd(ctx, minor)
	if err != nil || r.Etcd != "" {
		return r, err
	}
	dir, err := fromModules(".", "etcd").cached(ctx, minor+"-server")
	if err != nil {
		return r, fmt.Errorf("etcd %s: %w", minor, err)
	}
	r.Etcd = filepath.Join(dir, "etcd")
	return r, nil
}

// FindConftest gives the conftest that .ci/conftest pins, built the first time.
func FindConftest(ctx context.Context) (string, error) {
	src := fromModules(".ci/conftest", "conftest")
	src.folder = "conftest"
	dir, err := src.cached(ctx, "conftest")
	if err != nil {
		return "", fmt.Errorf("conftest: %w", err)
	}
	return filepath.Join(dir, "conftest"), nil
}

// source is where the programs of one minor come from.
type source struct {
	folder   string   // in the cache; "" for etcd's
	pins     []string // files that say exactly what, relative to the module's root
	programs []string
	make     func(ctx context.Context, dir string) error
}

func sourceOf(minor string) (source, error) {
	switch minor {
	case "3.4":
		sums := ".ci/etcd/3.4/SHA256SUMS"
		return source{"", []string{sums}, []string{"etcd", "etcdctl"}, func(ctx context.Context, dir string) error {
			return unpackDebian(ctx, filepath.Join(Root(), sums), dir)
		}}, nil
	case "3.5", "3.6":
		return fromModules(".ci/etcd/"+minor, "etcd", "etcdctl", "etcdutl"), nil
	case "3.7":
		return fromModules(".ci/tools", "etcdctl", "etcdutl"), nil
	}
	return source{}, fmt.Errorf("there is none: %s", strings.Join(Minors, ", "))
}

func findEtcd(ctx context.Context, minor string) (Release, error) {
	src, err := sourceOf(minor)
	if err != nil {
		return Release{}, err
	}
	dir, err := src.cached(ctx, minor)
	if err != nil {
		return Release{}, err
	}
	r := Release{Minor: minor}
	for name, at := range map[string]*string{"etcd": &r.Etcd, "etcdctl": &r.Etcdctl, "etcdutl": &r.Etcdutl} {
		if slices.Contains(src.programs, name) {
			*at = filepath.Join(dir, name)
		}
	}
	cmd := exec.CommandContext(ctx, r.Etcdctl, "version")
	if r.Etcd != "" {
		cmd = exec.CommandContext(ctx, r.Etcd, "--version")
	}
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.Output()
	if err != nil {
		return r, err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if _, r.Version, _ = strings.Cut(strings.TrimSpace(first), "ersion: "); !strings.HasPrefix(r.Version, minor+".") {
		return r, fmt.Errorf("%s says that it is %q", cmd.Path, first)
	}
	return r, nil
}

// cached gives the folder of the programs, made where it is not there. One process
// at a time makes it, and it appears whole or not at all.
func (s source) cached(ctx context.Context, minor string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "requorum", cmp.Or(s.folder, "etcd"))
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	key, err := s.key()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, minor+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	dir := filepath.Join(cache, minor+"-"+key)
	if exists(dir) {
		return dir, s.check(dir)
	}
	part, err := os.MkdirTemp(cache, minor+"-part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part) // nothing is left of it once it has its name
	if err := s.make(ctx, part); err != nil {
		return "", err
	}
	sums, err := s.sums(part)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(part, sumsName), sums, 0o600); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}

// key names what the programs are made of, and by which Go.
func (s source) key() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH, s.programs)
	for _, pin := range s.pins {
		b, err := os.ReadFile(filepath.Join(Root(), pin))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", pin, len(b), b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

const sumsName = "SHA256SUMS"

func (s source) sums(dir string) ([]byte, error) {
	var out bytes.Buffer
	for _, name := range s.programs {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(b), name)
	}
	return out.Bytes(), nil
}

// check compares cached programs with what they were when they were made.
func (s source) check(dir string) error {
	now, err := s.sums(dir)
	if err != nil {
		return fmt.Errorf("%w; remove %s to have it made anew", err, dir)
	}
	want, err := os.ReadFile(filepath.Join(dir, sumsName))
	if err != nil || !bytes.Equal(now, want) {
		return fmt.Errorf("the programs in %s are not what was put there; remove it to have them made anew", dir)
	}
	return nil
}

// fromModules builds programs with the go.mod and go.sum of a folder.
func fromModules(folder string, programs ...string) source {
	paths := map[string]string{
		"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3", "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
		"conftest": "github.com/open-policy-agent/conftest",
	}
	return source{"", []string{folder + "/go.mod", folder + "/go.sum"}, programs, func(ctx context.Context, dir string) error {
		for _, name := range programs {
			cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-o", filepath.Join(dir, name), paths[name])
			cmd.Dir, cmd.Env = filepath.Join(Root(), folder), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("building %s from %s: %w\n%s", name, folder, err, out)
			}
		}
		return nil
	}}
}

// unpackDebian takes etcd and etcdctl from the packages that sums names: each line
// is a sha256 and NAME_VERSION_ARCH.deb.
func unpackDebian(ctx context.Context, sums, dir string) error {
	b, err := os.ReadFile(sums)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, "deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for line := range strings.Lines(string(b)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		parts := strings.Split(file, "_")
		if len(parts) != 3 {
			return fmt.Errorf("%s: %q names no package", sums, line)
		}
		if err := debianPackage(ctx, work, parts[0]+"="+parts[1], file, sum); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Rename(filepath.Join(work, "usr", "bin", "etcd"), filepath.Join(dir, "etcd")),
		os.Rename(filepath.Join(work, "usr", "bin", "etcdctl"), filepath.Join(dir, "etcdctl")))
}

func debianPackage(ctx context.Context, work, what, file, sum string) error {
	if arch, _ := strings.CutSuffix(file[strings.LastIndex(file, "_")+1:], ".deb"); arch != runtime.GOARCH {
		return fmt.Errorf("%s is for %s, and this machine is %s", file, arch, runtime.GOARCH)
	}
	const takes = "it takes a Debian 12 with package lists and a network, or the programs in the cache of one"
	if err := Apt(ctx, work, "download", what); err != nil {
		return fmt.Errorf("%w\n%s", err, takes)
	}
	b, err := os.ReadFile(filepath.Join(work, file))
	if err != nil {
		return fmt.Errorf("apt-get download gave another file: %w", err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
		return fmt.Errorf("%s has the sha256 %s, and %s is pinned", file, got, sum)
	}
	cmd := exec.CommandContext(ctx, "dpkg-deb", "-x", file, ".")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb -x %s: %w (%s)\n%s", file, err, takes, out)
	}
	return nil
}
