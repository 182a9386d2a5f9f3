package review

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/requorum/requorum/tests/harness"
)

// mermaidJS is the pinned Mermaid, as npm has it, in the user's cache folder. It is
// looked at by its sum before anything of it is used.
var mermaidJS = sync.OnceValues(func() (string, error) {
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
	packed := filepath.Join(cache, strings.ReplaceAll(name, "@", "-")+".tgz")
	if _, err := os.Stat(packed); err != nil {
		if err := fetch(name, packed); err != nil {
			return "", fmt.Errorf("no Mermaid: %w", err)
		}
	}
	b, err := os.ReadFile(packed)
	if err != nil {
		return "", err
	}
	if got := sha512.Sum512(b); "sha512-"+base64.StdEncoding.EncodeToString(got[:]) != sum {
		return "", fmt.Errorf("%s is not %s as .ci/mermaid/package pins it; remove it", packed, name)
	}
	return unpacked(packed, "package/dist/mermaid.min.js")
})

// fetch has npm fetch a package, which runs nothing of it.
func fetch(name, to string) error {
	if _, err := exec.LookPath("npm"); err != nil {
		if err := aptInstall("npm"); err != nil {
			return fmt.Errorf("install npm: %w", err)
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), "part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // made above
	cmd := exec.Command("npm", "pack", "--ignore-scripts", "--silent", name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w\n%s", name, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("npm pack %s left %d files", name, len(found))
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

// TestMermaid: Mermaid itself draws the timelines of plans and of runs, each step in
// it; what is no timeline it refuses.
func TestMermaid(t *testing.T) {
	t.Parallel()
	js, err := mermaidJS()
	if err != nil {
		t.Fatal(err)
	}
	s := made(t)
	x := open(t)
	x.run(t, chromedp.Navigate("data:text/html,<!doctype html><title>x</title><body></body>"), chromedp.Evaluate(js, nil))
	draw := func(text string) (svg string, err error) {
		quoted, _ := json.Marshal(text)
		err = chromedp.Run(x.ctx, chromedp.Evaluate(
			`(async () => { mermaid.initialize({startOnLoad: false}); await mermaid.parse(`+string(quoted)+`); return (await mermaid.render('d', `+string(quoted)+`)).svg })()`,
			&svg, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
		return svg, err
	}
	drawn := 0
	for name, text := range s.markdown {
		_, rest, ok := strings.Cut(text, "```mermaid\n")
		if !ok {
			continue
		}
		diagram, _, _ := strings.Cut(rest, "\n```")
		svg, err := draw(diagram)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, diagram)
			continue
		}
		drawn++
		for _, line := range strings.Split(diagram, "\n")[2:] {
			period, _, _ := strings.Cut(strings.TrimSpace(line), " : ")
			for _, word := range strings.Fields(period) {
				if !strings.Contains(svg, word) {
					t.Errorf("%s: the drawing lacks %q of %q", name, word, period)
				}
			}
		}
	}
	if drawn < 5 {
		t.Errorf("only %d diagrams were drawn", drawn)
	}
	for _, bad := range []string{"timeline\n    title x\n    : : :\n  # :", "no diagram", "timelin\n    a : b"} {
		if svg, err := draw(bad); err == nil {
			t.Errorf("Mermaid draws %q:\n%.300s", bad, svg)
		}
	}
}
