package render

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner/saved"
)

// Changes gives what differs in meaning between two files.
func Changes(changes []saved.Change, s Style) string {
	if len(changes) == 0 {
		return s.Good("No change in meaning.") + "\n"
	}
	rows := [][]string{{"Changed", "From", "To", "At"}}
	for _, c := range changes {
		rows = append(rows, []string{c.Path, ChangeValue(c.Before, c.Sensitive), ChangeValue(c.After, c.Sensitive), s.path(c.Pos.String())})
	}
	return table(dropEmpty(rows), s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 0:
			return s.Bold(text)
		}
		return text
	}) + "\n"
}

// ChangeValue is one side of a change, in a few words.
func ChangeValue(v any, sensitive bool) string {
	if sensitive {
		return "(sensitive)"
	}
	switch v := v.(type) {
	case nil:
		return "–"
	case string:
		return v
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, ChangeValue(x, false))
		}
		return strings.Join(parts, " ")
	case map[string]any:
		if urls, ok := v["peer_urls"]; ok { // a member
			return ChangeValue(urls, false)
		}
		if len(v) > 1 {
			return fmt.Sprintf("%d settings", len(v))
		}
		for k, x := range v {
			return k + " " + ChangeValue(x, false)
		}
		return "an empty block"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(b)
}
