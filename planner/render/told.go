package render

import (
	"strings"

	"github.com/requorum/requorum/planner"
)

// Told is what the text says of a plan in sentences of their own, one line each, for
// the other forms: the snapshot and its proof, where the data came from, the thinnest
// moment, and why no milder route was open.
func Told(p *planner.Plan) []string {
	wide := Plain()
	wide.Width = 1 << 20
	var out []string
	for _, text := range []string{snapshot(p, wide), origin(p, wide), worst(p, wide), passed(p, wide)} {
		if text = strings.TrimSpace(text); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// Diff is how a step changes a file of a service, without what stays far from it.
func Diff(f planner.FileDiff) string {
	near := changed(f.Lines)
	var out []string
	for i, line := range f.Lines {
		switch {
		case near[i]:
			out = append(out, line)
		case i == 0 || near[i-1]:
			out = append(out, "…")
		}
	}
	return strings.Join(out, "\n")
}
