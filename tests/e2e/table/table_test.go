package table

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	rows := []Row{
		{"grow from one to three", 7, 2340 * time.Millisecond, 1200, 0, 0, 300 * time.Millisecond},
		{"a dead disk", 12, 90 * time.Second, 30000, 1, 2, 11 * time.Second},
	}
	if got := Scenarios("text\n\n" + Markdown(rows) + "\nmore | text\n"); !slices.Equal(got, []string{"grow from one to three", "a dead disk"}) {
		t.Errorf("%q", got)
	}
	text := Text(rows)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 || len(lines[1]) != len(lines[2]) || !strings.Contains(lines[1], "2.3 s") || !strings.HasSuffix(lines[2], "11.0 s") {
		t.Errorf("%s", text)
	}
}
