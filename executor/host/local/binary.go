package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/requorum/requorum/planner"
)

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// versionLimit is how long an etcd may take to tell its version.
const versionLimit = 5 * time.Second

var versionLine = regexp.MustCompile(`(?m)^etcd Version: (\d+\.\d+\.\d+\S*)$`)

// Binary implements host.Host: it runs path with --version.
func (d *Driver) Binary(ctx context.Context, path string) planner.Fact[planner.Binary] {
	if path == "" {
		return planner.Known(planner.Binary{Version: version.Version})
	}
	v, err := versionOf(ctx, path)
	if err != nil {
		return planner.Unknown[planner.Binary](err.Error())
	}
	return planner.Known(planner.Binary{Path: path, Version: v})
}

func versionOf(ctx context.Context, path string) (string, error) {
	fi, err := os.Stat(path)
	switch {
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("the path %q of etcd must be absolute", path)
	case notExist(err):
		return "", fmt.Errorf("there is no etcd at %s", path)
	case err != nil:
		return "", err
	case !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s is not an executable file", path)
	}
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{"PATH=" + os.Getenv("PATH")}, "/", time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s --version did not end within %s", path, versionLimit)
	}
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1]), nil
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		return "", fmt.Errorf("%s --version failed: %v: %.100s", path, err, first)
	}
	return "", fmt.Errorf("%s is not etcd: --version says %.100q", path, first)
}
