package harness

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/requorum/requorum/executor/journal"
)

// Runs are the journals of the test's applies and stops, the oldest first.
func (e *Env) Runs() []journal.Summary {
	e.t.Helper()
	runs, err := journal.Runs(journal.Folder(filepath.Join(e.State(), "requorum")))
	if err != nil {
		e.t.Fatal(err)
	}
	slices.Reverse(runs)
	return runs
}

// Records are those of the newest run after the first n; nil where there is none
// yet, or where it is about to begin.
func (e *Env) Records(n int) []journal.Record {
	e.t.Helper()
	runs := e.Runs()
	if len(runs) <= n {
		return nil
	}
	records, _, err := journal.Read(runs[len(runs)-1].Path)
	if err != nil {
		e.t.Fatal(err)
	}
	return records
}

// AwaitRecord waits until the newest run after the first n has a record that is
// wanted, and gives it.
func (e *Env) AwaitRecord(n int, want func(journal.Record) bool) journal.Record {
	e.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(500 * time.Microsecond) {
		records := e.Records(n)
		if i := slices.IndexFunc(records, want); i >= 0 {
			return records[i]
		}
		if time.Now().After(end) {
			e.t.Fatalf("the record does not come; there are %+v", records)
		}
	}
}
