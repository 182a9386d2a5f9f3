package review

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/tests/harness"
)

// shapes are plans and runs of a real cluster: their pages by name, their Markdown, and
// the plans themselves.
type shapes struct {
	pages, markdown, plans map[string]string
}

// made grows a cluster, is killed in the midst of shrinking it, and is refused.
func made(t *testing.T) shapes {
	t.Helper()
	e := harness.New(t)
	s := shapes{map[string]string{}, map[string]string{}, map[string]string{}}
	plan := func(name string, exit int, path string, args ...string) string {
		t.Helper()
		file := e.Path(name + ".json")
		e.Run(append([]string{"plan", "--out", file, path}, args...)...).Want(t, exit)
		s.plans[name] = file
		s.pages[name] = e.Run("show", "--format", "html", file).Want(t, 0).Stdout
		s.markdown[name] = e.Run("show", "--format", "markdown", file).Want(t, 0).Stdout
		return file
	}
	ran := func(name string, args ...string) {
		t.Helper()
		s.pages[name] = e.Run(append([]string{"log", "last", "--format", "html"}, args...)...).Want(t, 0).Stdout
		s.markdown[name] = e.Run(append([]string{"log", "last", "--format", "markdown"}, args...)...).Want(t, 0).Stdout
	}
	c := e.Cluster(3)
	all := c.Members
	c.Members = all[:1]
	e.Apply(c.Write().Path())
	c.Members = all
	grow := plan("grow", 0, c.Write().Path())
	e.Run("apply", grow).Want(t, 0)
	ran("grown")
	ran("grown-copy", "--dir", filepath.Join(all[1].Base(), "runs"))
	plan("in-sync", 0, c.Path())
	two := c.Path()
	c.Members = all[:2]
	plan("shrink", 0, c.Write().Path(), "--accept=remove-member:m3")
	n := len(e.Runs())
	cmd := e.Command("apply", "--auto-approve", "--accept=remove-member:m3", c.Path())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.AwaitRecord(n, func(r journal.Record) bool { return r.Event == journal.Intent })
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil { // this test's own group
		t.Fatal(err)
	}
	_ = cmd.Wait()
	ran("cut-off")
	c.Members = all
	c.Snapshot = "nosuch.db"
	c.Write()
	e.Run("stop", "--auto-approve", two).Want(t, 0)
	ran("stopped")
	c.DropData(all...)
	plan("refused", 6, c.Path())
	return s
}

// checks are what holds in a page, whatever it shows, as it is laid out and coloured: a
// list of what is wrong.
const checks = `(() => {
  const bad = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) bad.push('it is ' + root.scrollWidth + ' wide, and the window ' + innerWidth);
  if (document.querySelectorAll('h1').length != 1) bad.push('it has not one heading');
  if (!document.title || !root.lang) bad.push('no title, or no language');
  const parse = s => { const m = s.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const light = c => [0, 1, 2].map(i => c[i] / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] == 1) return c;
      if (c[3] != 0) bad.push('a background that is seen through: ' + e.outerHTML.slice(0, 80));
    }
    return [255, 255, 255, 1];
  };
  let texts = 0;
  document.querySelectorAll('details').forEach(d => d.open = true);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = walk.nextNode();) {
    if (!n.data.trim()) continue;
    const e = n.parentElement, st = getComputedStyle(e);
    texts++;
    const a = light(parse(st.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push('contrast ' + ratio.toFixed(2) + ': ' + n.data.trim().slice(0, 60));
    if (parseFloat(st.fontSize) < 12) bad.push('small text: ' + n.data.trim().slice(0, 60));
    const r = e.getBoundingClientRect();
    if (r.right > innerWidth + 1 && !e.closest('.scroll')) bad.push('runs out of the window: ' + n.data.trim().slice(0, 60));
  }
  if (texts < 10) bad.push('only ' + texts + ' texts');
  document.querySelectorAll('.bar').forEach(x => {
    const r = x.getBoundingClientRect(), t = x.parentElement.getBoundingClientRect();
    if (r.width < 2 || r.left < t.left - 1 || r.right > t.right + 1) bad.push('a bar lies outside of its track');
    if (!x.parentElement.getAttribute('aria-label')) bad.push('a bar without words');
  });
  document.querySelectorAll('details').forEach(d => d.open = false);
  return bad;
})()`

// stops are where the tabulator key goes, in order, until it is at the beginning again;
// each has to be seen to have it.
const focused = `(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return '';
  const st = getComputedStyle(e);
  return (st.outlineStyle == 'none' || parseFloat(st.outlineWidth) < 2 ? 'UNSEEN ' : '') + e.tagName + ' ' + e.textContent.trim().replace(/\s+/g, ' ').slice(0, 60);
})()`

// TestPages: the pages in a real browser: on a phone and a desktop, light and dark, with
// nothing but the keyboard, and on paper.
func TestPages(t *testing.T) {
	t.Parallel()
	s := made(t)
	dir := t.TempDir()
	if keep := os.Getenv("REQUORUM_PAGES"); keep != "" { // to be looked at
		dir = keep
	}
	for name, text := range s.pages {
		path := filepath.Join(dir, name+".html")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x, url := open(t), "file://"+path
		for _, wide := range []int64{360, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				var bad []string
				var picture []byte
				x.run(t, emulation.SetDeviceMetricsOverride(wide, 800, 1, wide < 600),
					emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
					chromedp.Navigate(url), chromedp.Evaluate(checks, &bad))
				for _, b := range bad {
					t.Errorf("%s, %d wide, %s: %s", name, wide, scheme, b)
				}
				if os.Getenv("REQUORUM_PAGES") != "" {
					x.run(t, chromedp.FullScreenshot(&picture, 100))
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, wide, scheme)), picture, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		x.keyboard(t, name, url)
		x.paper(t, name)
		x.quiet(t, url)
	}
}

// keyboard goes through the page, opens each step, and closes it again.
func (x *tab) keyboard(t *testing.T, name, url string) {
	t.Helper()
	var steps int
	x.run(t, chromedp.Navigate(url), chromedp.Evaluate(`document.querySelectorAll('details').length`, &steps))
	opened, places := 0, 0
	for range 200 {
		var at string
		x.run(t, chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(focused, &at))
		if at == "" {
			break
		}
		places++
		if strings.HasPrefix(at, "UNSEEN ") {
			t.Errorf("%s: it is not seen that the keyboard is at %s", name, at)
		}
		if !strings.Contains(at, "SUMMARY ") {
			continue
		}
		var is, shown bool
		x.run(t, chromedp.KeyEvent(kb.Enter), chromedp.Evaluate(`document.activeElement.parentElement.open`, &is),
			chromedp.Evaluate(`[...document.activeElement.parentElement.children].at(-1).getBoundingClientRect().height > 0`, &shown),
			chromedp.KeyEvent(kb.Enter))
		if is && shown {
			opened++
		}
	}
	if opened != steps || places < steps {
		t.Errorf("%s: of %d steps %d can be opened by the keyboard, which came to %d places", name, steps, opened, places)
	}
}

// paper: on paper nothing is folded, and nothing is cut off.
func (x *tab) paper(t *testing.T, name string) {
	t.Helper()
	var hidden []string
	x.run(t, emulation.SetEmulatedMedia().WithMedia("print"), emulation.SetDeviceMetricsOverride(794, 1123, 1, false),
		chromedp.Evaluate(`[...document.querySelectorAll('details dl, details pre')].filter(e => e.getBoundingClientRect().height == 0).map(e => e.textContent.trim().slice(0, 60))`, &hidden))
	for _, h := range hidden {
		t.Errorf("%s: not on paper: %s", name, h)
	}
	x.run(t, emulation.SetEmulatedMedia().WithMedia(""))
}

// TestChecksFind: what looks at pages finds what is wrong with one.
func TestChecksFind(t *testing.T) {
	t.Parallel()
	page := `<!doctype html><html lang="en"><title>x</title><body style="background:#fff"><h1>One</h1><p>a<p>b<p>c<p>d<p>e<p>f<p>g<p>h<p>i<p>j<p>
<details><summary>Step</summary><dl><dd>inside</dl></details>%s`
	x := open(t)
	for part, want := range map[string]string{
		``:                               "",
		`<p style="color:#999">grey</p>`: "contrast 2.8",
		`<div style="background:#222"><span>dark</span></div>`: "contrast 1.3",
		`<p style="width:2000px">wide</p>`:                     "wide, and the window",
		`<h1>Two</h1>`:                                         "not one heading",
		`<p style="font-size:8px">small</p>`:                   "small text",
		`<div style="width:50px"><i class="bar" style="position:absolute;width:1px;height:3px"></i></div>`: "a bar",
	} {
		var bad []string
		path := filepath.Join(t.TempDir(), "x.html")
		if err := os.WriteFile(path, []byte(fmt.Sprintf(page, part)), 0o600); err != nil {
			t.Fatal(err)
		}
		x.run(t, emulation.SetDeviceMetricsOverride(360, 800, 1, false), chromedp.Navigate("file://"+path), chromedp.Evaluate(checks, &bad))
		if said := strings.Join(bad, "\n"); want == "" && said != "" || !strings.Contains(said, want) {
			t.Errorf("%s: %q, want %q", part, said, want)
		}
	}
	// What a page asks for, and says, is seen.
	path := filepath.Join(t.TempDir(), "x.html")
	if err := os.WriteFile(path, []byte(fmt.Sprintf(page, `<img src="http://127.0.0.1:1/x.png"><script>console.log(1)</script>`)), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run(t, chromedp.Navigate("file://"+path))
	x.mu.Lock()
	defer x.mu.Unlock()
	if asked := strings.Join(x.sent, " "); !strings.Contains(asked, "http://127.0.0.1:1/x.png") || len(x.said) == 0 {
		t.Errorf("it asked for %s, and said %q", asked, x.said)
	}
}
