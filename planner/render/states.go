package render

import (
	"strings"

	"github.com/requorum/requorum/planner"
)

// states names what was found: one line for each state and fact, with the members
// that it is of, and once how to learn more.
func states(p *planner.Plan, s Style) string {
	if len(p.States) == 0 {
		return ""
	}
	rows := [][]string{{"Found", "On", "Because"}}
	for _, f := range p.States {
		member := f.Member
		if member == "" {
			member = "-"
		}
		if last := rows[len(rows)-1]; last[0] == string(f.State) && last[2] == s.path(f.Fact) {
			last[1] += " " + member
			continue
		}
		rows = append(rows, []string{string(f.State), member, s.path(f.Fact)})
	}
	var b strings.Builder
	b.WriteString("\n" + table(rows, s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 0:
			return s.Warn(text)
		case c == 1:
			return s.Bold(text)
		}
		return text
	}))
	b.WriteString(s.Dim("  More: requorum explain "+string(p.States[0].State)) + "\n")
	return b.String()
}
