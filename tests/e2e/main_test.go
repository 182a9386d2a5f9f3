// Package e2e tries requorum on real machines: hosts of package bed, etcd under
// systemd, and writers whose every acknowledged write has to be there at the end.
package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/requorum/requorum/tests/e2e/table"
	"github.com/requorum/requorum/tests/harness"
)

// results are the rows of this run.
var results rows

type rows struct {
	mu  sync.Mutex
	all []table.Row
}

func (r *rows) add(row table.Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, row)
}

// inOrder are the rows as the scenarios are ordered.
func (r *rows) inOrder() []table.Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := func(row table.Row) int {
		return slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == row.Scenario })
	}
	out := slices.Clone(r.all)
	slices.SortFunc(out, func(a, b table.Row) int { return place(a) - place(b) })
	return out
}

func TestMain(m *testing.M) {
	harness.MainAnd(m, func(code int) int {
		all := results.inOrder()
		if len(all) == 0 {
			return code
		}
		fmt.Print("\n" + table.Text(all) + "\n")
		if code == 0 && len(all) == len(scenarios) {
			if err := writeDocs(filepath.Join(harness.Root(), docs), all); err != nil {
				fmt.Fprintln(os.Stderr, "e2e:", err)
				return 1
			}
		}
		return code
	})
}

const docs = "docs/e2e.md"

// writeDocs puts the rows where the table of the last run was.
func writeDocs(path string, all []table.Row) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var out strings.Builder
	const before, within, after = 0, 1, 2
	at := before
	for line := range strings.Lines(string(b)) {
		switch is := strings.HasPrefix(line, "|"); {
		case at == before && is:
			at = within
			out.WriteString(table.Markdown(all))
		case at == within && !is:
			at = after
		}
		if at != within {
			out.WriteString(line)
		}
	}
	return os.WriteFile(path, []byte(out.String()), 0o644)
}

// The page lists every scenario, and nothing else.
func TestScenariosAreDocumented(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(harness.Root(), docs))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range scenarios {
		want = append(want, s.name)
	}
	if got := table.Scenarios(string(b)); !slices.Equal(got, want) {
		t.Errorf("%s lists\n%s\nand there are\n%s", docs, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
