package harness

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/requorum/requorum/planner/audit"
)

// Audit runs `audit --format json` on a file, with args, and decodes it. The exit code
// has to fit what it says.
func (e *Env) Audit(path string, args ...string) audit.Cluster {
	e.t.Helper()
	return DecodeAudit(e.t, e.Run(slices.Concat([]string{"audit", "--format", "json"}, args, []string{path})...))
}

// DecodeAudit decodes what `audit --format json` gave for one file.
func DecodeAudit(t testing.TB, r Result) audit.Cluster {
	t.Helper()
	var report audit.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || len(report.Clusters) != 1 {
		t.Fatalf("no report of one cluster: %v\n%s", err, r)
	}
	want := 0
	if report.Fails() {
		want = 2
	}
	if !report.Whole() {
		want = 1
	}
	r.Want(t, want)
	return report.Clusters[0]
}
