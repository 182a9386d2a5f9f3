package review

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestMermaid: Mermaid itself draws the timelines of plans and of runs, each step in
// it; what is no timeline it refuses.
func TestMermaid(t *testing.T) {
	t.Parallel()
	js, err := Mermaid(t.Context())
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
