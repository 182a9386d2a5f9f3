package render

import (
	"strings"
	"unicode/utf8"

	"github.com/mitchellh/go-wordwrap"
)

// table lays rows out in columns within width, two spaces apart and indented by
// two. Where they don't fit, the widest columns are narrowed and their cells
// wrapped. paint colours a cell after it was laid out; it may be nil.
func table(rows [][]string, width int, paint func(row, col int, s string) string) string {
	if len(rows) == 0 {
		return ""
	}
	widths := fit(rows, width)
	var b strings.Builder
	for r, row := range rows {
		cells := make([][]string, len(row))
		height := 1
		for c, cell := range row {
			cells[c] = wrap(cell, widths[c])
			height = max(height, len(cells[c]))
		}
		for l := range height {
			b.WriteString(tableLine(cells, l, widths, func(c int, s string) string {
				if paint == nil {
					return s
				}
				return paint(r, c, s)
			}))
		}
	}
	return b.String()
}

func tableLine(cells [][]string, line int, widths []int, paint func(col int, s string) string) string {
	var b strings.Builder
	gap := 0
	for c, cell := range cells {
		text := ""
		if line < len(cell) {
			text = cell[line]
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", gap+2) + paint(c, text))
			gap = 0
		} else {
			gap += 2
		}
		gap += widths[c] - utf8.RuneCountInString(text)
	}
	return b.String() + "\n"
}

// fit gives the columns' widths, their sum within width where the narrowest
// legible columns allow it.
func fit(rows [][]string, width int) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for c, cell := range row {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
	}
	const narrowest = 12
	for {
		sum, widest := 0, 0
		for c, w := range widths {
			sum += w + 2
			if w > widths[widest] {
				widest = c
			}
		}
		if sum <= width || widths[widest] <= narrowest {
			return widths
		}
		widths[widest]--
	}
}

// wrap breaks s at spaces, and within words that are wider than width.
func wrap(s string, width int) []string {
	if width < 1 || utf8.RuneCountInString(s) <= width {
		return []string{s}
	}
	var out []string
	for _, line := range strings.Split(wordwrap.WrapString(s, uint(width)), "\n") {
		r := []rune(line)
		for len(r) > width {
			out, r = append(out, string(r[:width])), r[width:]
		}
		out = append(out, string(r))
	}
	return out
}

// paragraph wraps s to width, the first line begun with first and the others
// with rest.
func paragraph(s string, width int, first, rest string) string {
	lines := wrap(s, width-utf8.RuneCountInString(rest))
	return first + strings.Join(lines, "\n"+rest) + "\n"
}
