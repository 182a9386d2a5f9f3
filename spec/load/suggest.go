package load

import (
	"strings"

	"github.com/agext/levenshtein"
)

// nearest gives the name of names that given is most likely a slip for, or "".
// Case and the choice between "-" and "_" do not count.
func nearest(given string, names []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
	best, bestDistance := "", max(2, len(given)/4)+1
	for _, name := range names {
		if d := levenshtein.Distance(fold(given), fold(name), nil); d < bestDistance && d < len(name) {
			best, bestDistance = name, d
		}
	}
	return best
}

// didYouMean is a sentence that ends a diagnostic's detail: the likely name, or
// else all of them where they are few.
func didYouMean(given string, names []string) string {
	if s := nearest(given, names); s != "" {
		return ` Did you mean "` + s + `"?`
	}
	if len(names) > 0 && len(names) <= 10 {
		return " There is " + quotedList(names, "and") + "."
	}
	return ""
}

// quotedList writes "a", "b" and "c".
func quotedList(names []string, conjunction string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(" " + conjunction + " ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(`"` + n + `"`)
	}
	return b.String()
}
