package render

import (
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner"
)

// around is how many lines that stay are shown beside one that changes.
const around = 2

// files shows how the steps change files of services. Its lines are not wrapped:
// they are what will stand there.
func files(p *planner.Plan, s Style) string {
	var b strings.Builder
	for _, st := range p.Steps {
		for _, f := range st.Files {
			what := ""
			if f.New {
				what = " (new)"
			}
			fmt.Fprintf(&b, "\n  Step %d, %s: %s%s\n", st.ID, s.Bold(f.Member), f.Path, what)
			near := changed(f.Lines)
			for i, line := range f.Lines {
				switch {
				case !near[i]:
					if i == 0 || near[i-1] {
						b.WriteString("    " + s.Dim("…") + "\n")
					}
				case strings.HasPrefix(line, "+"):
					b.WriteString("    " + s.Good(line) + "\n")
				case strings.HasPrefix(line, "-"):
					b.WriteString("    " + s.Bad(line) + "\n")
				default:
					b.WriteString("    " + line + "\n")
				}
			}
		}
	}
	return b.String()
}

// changed marks the lines that change, and those around them.
func changed(lines []string) []bool {
	out := make([]bool, len(lines))
	for i, line := range lines {
		if strings.HasPrefix(line, " ") {
			continue
		}
		for j := max(0, i-around); j <= min(len(lines)-1, i+around); j++ {
			out[j] = true
		}
	}
	return out
}
