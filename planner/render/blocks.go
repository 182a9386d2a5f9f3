package render

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Fact is one line of Facts: what it is of, and what it is.
type Fact struct{ Label, Text string }

// Facts lays labelled lines out in two columns, the texts wrapped beside their
// labels. One without a text is left out, one without a label goes on where the
// last one ended.
func Facts(facts []Fact, s Style) string {
	wide := 0
	for _, f := range facts {
		if f.Text != "" {
			wide = max(wide, utf8.RuneCountInString(f.Label))
		}
	}
	var b strings.Builder
	rest := strings.Repeat(" ", wide+4)
	for _, f := range facts {
		if f.Text == "" {
			continue
		}
		text := paragraph(s.path(f.Text), s.width(), "", rest)
		pad := strings.Repeat(" ", wide-utf8.RuneCountInString(f.Label))
		b.WriteString("  " + s.Dim(f.Label) + pad + "  " + text)
	}
	return b.String()
}

// Table lays rows out in columns, the first row their headings and the first
// column bold.
func Table(rows [][]string, s Style) string {
	return table(dropEmpty(rows), s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 0:
			return s.Bold(text)
		}
		return text
	})
}

// Paragraph wraps text to the style's width; lines after the first are indented.
func Paragraph(text string, s Style) string { return paragraph(s.path(text), s.width(), "", "  ") }

// Count is "1 key", "2 keys".
func Count(n int, word string) string { return plural(n, word) }

// Age is a duration in its largest unit, rounded down.
func Age(d time.Duration) string {
	return strings.ReplaceAll(upFor(int(d.Seconds())), "\u00a0", " ")
}
