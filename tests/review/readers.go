package review

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/requorum/requorum/tests/harness"
)

// Conftest gives the pinned conftest, built once for each go.sum of .ci/conftest.
func Conftest(ctx context.Context) (string, error) { return harness.FindConftest(ctx) }

// Chromium gives Debian's, which is installed where it is not there: apt checks whose
// package it is. Which version that is depends on Debian's updates.
func Chromium(ctx context.Context) (string, error) {
	// The programs themselves: Debian's scripts for them stay between us and them, and
	// would be ended in their place.
	names := []string{"/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/chromium"}
	const pkg = "chromium-headless-shell"
	for _, install := range []bool{false, true} {
		if install {
			if err := aptInstall(ctx, pkg, "fonts-dejavu-core"); err != nil {
				return "", fmt.Errorf("no Chromium: install %s, or run this as root on a Debian 12 with a network: %w", pkg, err)
			}
		}
		for _, name := range names {
			if _, err := os.Stat(name); err == nil {
				return name, nil
			}
		}
	}
	return "", errors.New("no Chromium, although its package was installed")
}

func aptInstall(ctx context.Context, packages ...string) error {
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	if err := harness.Apt(ctx, "", install...); err == nil {
		return nil
	}
	if err := harness.Apt(ctx, "", "update"); err != nil {
		return err
	}
	return harness.Apt(ctx, "", install...)
}

// Mermaid gives the pinned Mermaid's script. What npm fetched stays in the user's cache
// folder; it is held against its sum each time before anything of it is used.
func Mermaid(ctx context.Context) (string, error) {
	pin, err := os.ReadFile(filepath.Join(harness.Root(), ".ci", "mermaid", "package"))
	if err != nil {
		return "", err
	}
	name, sum, _ := strings.Cut(strings.TrimSpace(string(pin)), " ")
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "requorum", "npm")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	unlock, err := harness.CacheLock(ctx, "npm.lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	packed := filepath.Join(cache, strings.ReplaceAll(name, "@", "-")+".tgz")
	if _, err := os.Stat(packed); err != nil {
		if err := fetch(ctx, name, sum, packed); err != nil {
			return "", fmt.Errorf("no Mermaid: %w", err)
		}
	}
	if err := checkSum(packed, sum); err != nil {
		return "", fmt.Errorf("%w, as .ci/mermaid/package pins it; remove it", err)
	}
	return unpacked(packed, "package/dist/mermaid.min.js")
}

// checkSum holds a file against its sum, which is written as npm writes it.
func checkSum(path, sum string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if got := sha512.Sum512(b); "sha512-"+base64.StdEncoding.EncodeToString(got[:]) != sum {
		return fmt.Errorf("%s has not the sum %s", path, sum)
	}
	return nil
}

// fetch has npm fetch the one package, without what it needs, and run nothing of it. It
// gets its name only with the right sum.
func fetch(ctx context.Context, name, sum, to string) error {
	if _, err := exec.LookPath("npm"); err != nil {
		if err := aptInstall(ctx, "npm"); err != nil {
			return fmt.Errorf("install npm: %w", err)
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), "part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // made above
	cmd := exec.CommandContext(ctx, "npm", "pack", "--ignore-scripts", "--silent", name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w\n%s", name, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("npm pack %s left %d files", name, len(found))
	}
	if err := checkSum(found[0], sum); err != nil {
		return err
	}
	return os.Rename(found[0], to)
}

// unpacked is a file of a package.
func unpacked(packed, name string) (string, error) {
	f, err := os.Open(packed)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%s has no %s", packed, name)
		}
		if err != nil {
			return "", err
		}
		if h.Name == name {
			b, err := io.ReadAll(r)
			return string(b), err
		}
	}
}
