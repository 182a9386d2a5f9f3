// Package table keeps what the end-to-end scenarios measured, and shows it.
package table

import (
	"fmt"
	"strings"
	"time"
)

// Row is what one scenario measured.
type Row struct {
	Scenario string
	// Steps is how many steps of plans were carried out.
	Steps int
	// Took is the time from the fault, or from the first plan where there is none,
	// until there was nothing left to do.
	Took time.Duration
	// Acked are the writes that were acknowledged, all in all; Lost are those of them
	// that a member did not have at the end; Failed those that got an error.
	Acked, Lost, Failed int
	// Gap is the longest time between two acknowledgements of one writer.
	Gap time.Duration
}

var heads = []string{"scenario", "steps", "time", "writes acknowledged", "writes lost", "failed writes", "longest gap"}

func (r Row) cells() []string {
	return []string{
		r.Scenario, fmt.Sprint(r.Steps), seconds(r.Took), fmt.Sprint(r.Acked), fmt.Sprint(r.Lost), fmt.Sprint(r.Failed), seconds(r.Gap),
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Markdown is the rows as a table of Markdown.
func Markdown(rows []Row) string {
	var out strings.Builder
	out.WriteString("| " + strings.Join(heads, " | ") + " |\n|---|" + strings.Repeat("---:|", len(heads)-1) + "\n")
	for _, r := range rows {
		out.WriteString("| " + strings.Join(r.cells(), " | ") + " |\n")
	}
	return out.String()
}

// Text is the rows as a person reads them in a terminal.
func Text(rows []Row) string {
	all := [][]string{heads}
	for _, r := range rows {
		all = append(all, r.cells())
	}
	widths := make([]int, len(heads))
	for _, cells := range all {
		for i, c := range cells {
			widths[i] = max(widths[i], len(c))
		}
	}
	var out strings.Builder
	for _, cells := range all {
		for i, c := range cells {
			if i == 0 {
				fmt.Fprintf(&out, "%-*s", widths[i], c)
			} else {
				fmt.Fprintf(&out, "  %*s", widths[i], c)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// Scenarios are the names in the first column of a Markdown table in a text.
func Scenarios(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) != len(heads)+2 {
			continue
		}
		name := strings.TrimSpace(cells[1])
		if name != heads[0] && strings.Trim(name, "-") != "" {
			out = append(out, name)
		}
	}
	return out
}
