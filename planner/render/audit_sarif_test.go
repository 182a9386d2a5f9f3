package render

import (
	"encoding/json"
	"testing"

	"github.com/requorum/requorum/planner/audit"
)

func TestFileURI(t *testing.T) {
	for _, tc := range []struct{ dir, path, want string }{
		{"/a", "/a/b.hcl", "b.hcl"},
		{"/a/", "/a/b.hcl", "b.hcl"},
		{"/a", "/ab/c.hcl", "file:///ab/c.hcl"},
		{"/a/b", "/a/c.hcl", "file:///a/c.hcl"},
		{"/a", "/a/..b.hcl", "..b.hcl"},
		{"/", "/a/b.hcl", "a/b.hcl"},
		{"", "/a/b.hcl", "file:///a/b.hcl"},
		{"/a", "./c d.hcl", "c%20d.hcl"},
		{"/a", "b.hcl", "b.hcl"},
	} {
		if got := fileURI(tc.path, tc.dir); got != tc.want {
			t.Errorf("%q from %q: %q, want %q", tc.path, tc.dir, got, tc.want)
		}
	}
}

// TestFingerprints: two files that name their clusters alike have two findings; how a path
// is written makes no other one of it.
func TestFingerprints(t *testing.T) {
	of := func(path, dir string, member string) string {
		t.Helper()
		b, err := AuditSARIF(audit.Report{Clusters: []audit.Cluster{{Path: path, Name: "demo", Findings: []audit.Finding{{Code: audit.BackupMissing, Member: member}}}}}, dir)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Runs []struct {
				Results []struct{ PartialFingerprints map[string]string }
			}
		}
		if err := json.Unmarshal(b, &out); err != nil || len(out.Runs) != 1 || len(out.Runs[0].Results) != 1 {
			t.Fatal(err, string(b))
		}
		return out.Runs[0].Results[0].PartialFingerprints["requorum/v1"]
	}
	one := of("a.hcl", "/w", "m1")
	if one == "" || one != of("./a.hcl", "/w", "m1") || one != of("/w/a.hcl", "/w", "m1") || one != of("/w2/a.hcl", "/w2", "m1") {
		t.Error("one file has several")
	}
	if one == of("b.hcl", "/w", "m1") || one == of("x/a.hcl", "/w", "m1") || one == of("a.hcl", "/w", "m2") {
		t.Error("several share one")
	}
}
