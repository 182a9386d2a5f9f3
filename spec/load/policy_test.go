package load

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// TestBackupsOfPolicy: where backups are, and how old they may be.
func TestBackupsOfPolicy(t *testing.T) {
	dir := t.TempDir()
	read := func(policy string) (*spec.Cluster, string) {
		path := filepath.Join(dir, "c.hcl")
		text := `cluster "demo" {
  member "m1" {
    peer_urls   = ["http://127.0.0.1:2380"]
    client_urls = ["http://127.0.0.1:2379"]
    data_dir    = "/data/m1"
  }
  policy { ` + policy + ` }
}
`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := Load(path, Options{})
		var said strings.Builder
		if err := WriteDiagnostics(&said, r, 100, false); err != nil {
			t.Fatal(err)
		}
		return r.Cluster, said.String()
	}
	for policy, want := range map[string]spec.Policy{
		`strict = true`:                        {Strict: true},
		`backups = "saved"`:                    {Backups: filepath.Join(dir, "saved")},
		`backups = "/backup/etcd/"`:            {Backups: "/backup/etcd"},
		`backups = "s3://b/etcd/?region=eu-1"`: {Backups: "s3://b/etcd/?region=eu-1"},
		`max_backup_age = "26h"`:               {MaxBackupAge: 26 * 3600},
		`max_drill_age = "35d"`:                {MaxDrillAge: 35 * 24 * 3600},
		`max_backup_age = "any"`:               {MaxBackupAge: spec.AnyAge},
		`max_backup_age = "1h30m"`:             {MaxBackupAge: 5400},
	} {
		c, said := read(policy)
		if c == nil {
			t.Errorf("%s: %s", policy, said)
			continue
		}
		got := c.Policy
		if got.Strict != want.Strict || got.Backups != want.Backups || got.MaxBackupAge != want.MaxBackupAge || got.MaxDrillAge != want.MaxDrillAge {
			t.Errorf("%s: %+v", policy, got)
		}
		if (got.BackupsPos.Line == 7) != (want.Backups != "") {
			t.Errorf("%s: stands at %v", policy, got.BackupsPos)
		}
	}
	for policy, want := range map[string]string{
		`backups = "https://h/x/"`:                     "Not a place of backups",
		`backups = "https://ops:seCret7@h/x/"`:         "Not a place of backups",
		`backups = "s3://b/etcd/?X-Amz-Token=seCret7"`: "Secret in a place",
		`backups = "s3://ops:seCret7@b/etcd/"`:         "Secret in a place",
		`backups = "s3:///etcd/"`:                      "No bucket",
		`backups = "s3://b/etcd"`:                      "Not a prefix",
		`max_backup_age = "soon"`:                      "Not an age",
		`max_backup_age = "0h"`:                        "Not an age",
		`max_backup_age = "-1d"`:                       "Not an age",
		`max_drill_age = "99999999d"`:                  "Not an age",
		`max_drill_age = "9999999999999h"`:             "Not an age",
	} {
		c, said := read(policy)
		if c != nil || !strings.Contains(said, want) || strings.Contains(said, "seCret7") {
			t.Errorf("%s: %v\n%s", policy, c, said)
		}
	}
}

// TestOrganisationsPolicies: a folder of policies adds to a file's, and never takes away.
func TestOrganisationsPolicies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [odd]* name")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (spec.Policy, string) {
		t.Helper()
		p, r := Policies(dir)
		return p, r.Diags.Error()
	}
	for name, want := range map[string]string{
		"none.txt": "No *.hcl",
		"empty":    "No *.hcl",
	} {
		write(name, "policy {}")
		if _, said := read(); !strings.Contains(said, want) {
			t.Errorf("%s: %s", name, said)
		}
	}
	if _, r := Policies(filepath.Join(dir, "not there")); !r.Diags.HasErrors() {
		t.Error("a folder that is not there is a policy")
	}
	write("a.hcl", "policy {\n  prevent = [\"downtime\"]\n  max_backup_age = \"12h\"\n}\npolicy { min_fault_tolerance = 2 }\n")
	write("b.hcl", "policy {\n  snapshot_before = \"membership\"\n  prevent = [\"data-loss\", \"downtime\"]\n  max_drill_age = \"any\"\n}\n")
	p, said := read()
	if p.MinFaultTolerance != 2 || p.SnapshotBefore != "membership" || strings.Join(p.Prevent, " ") != "downtime data-loss" || p.MaxBackupAge != 12*3600 || p.Strict {
		t.Errorf("%+v %s", p, said)
	}
	for name, k := range map[string]struct {
		file spec.Policy
		want func(spec.Policy) bool
	}{
		"nothing in the file": {spec.Policy{}, func(q spec.Policy) bool {
			return q.MinFaultTolerance == 2 && len(q.Prevent) == 2 && q.Pos == p.Pos && q.MaxBackupAge == 12*3600 && q.MaxDrillAge == 0
		}},
		"looser": {spec.Policy{MinFaultTolerance: 1, MaxBackupAge: spec.AnyAge, Prevent: []string{"tail-drop"}}, func(q spec.Policy) bool {
			return q.MinFaultTolerance == 2 && len(q.Prevent) == 3 && q.MaxBackupAge == 12*3600
		}},
		"stricter": {spec.Policy{MinFaultTolerance: 3, SnapshotBefore: "always", Strict: true, MaxBackupAge: 3600, MaxDrillAge: 60}, func(q spec.Policy) bool {
			return q.MinFaultTolerance == 3 && q.SnapshotBefore == "always" && q.Strict && q.MaxBackupAge == 3600 && q.MaxDrillAge == 60
		}},
		"its own": {spec.Policy{Backups: "/b"}, func(q spec.Policy) bool { return q.Backups == "/b" }},
	} {
		if q := Stricter(k.file, p); !k.want(q) {
			t.Errorf("%s: %+v", name, q)
		}
	}
	// As JSON it counts as well.
	write("b.hcl.json", `{"policy": [{"strict": true}, {"prevent": ["tail-drop"]}]}`)
	if q, said := read(); !q.Strict || len(q.Prevent) != 3 {
		t.Errorf("%+v %s", q, said)
	}
	if err := os.Remove(filepath.Join(dir, "b.hcl.json")); err != nil {
		t.Fatal(err)
	}
	// What looks like a policy and would not be read is named; a tool's folder is not.
	if err := os.Mkdir(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, r := Policies(dir); r.Diags.HasErrors() {
		t.Error(r.Diags)
	}
	for _, name := range []string{"x.json", "x.JSON", "x.HCL", "x.Hcl", "x.hcl.Json", "x.HCL.json", ".json"} {
		write(name, "{}")
		if _, said := read(); !strings.Contains(said, filepath.Join(dir, name)+" would not be read") {
			t.Errorf("%s: %s", name, said)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"team", "y.hcl", "y.json"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, said := read(); !strings.Contains(said, filepath.Join(dir, name)+" is a folder") {
			t.Errorf("%s: %s", name, said)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	same := spec.Policy{MinFaultTolerance: 2, SnapshotBefore: "always", Prevent: []string{"data-loss", "downtime"}, Pos: spec.Position{File: "f", Line: 3}}
	if q := Stricter(same, p); q.Pos != same.Pos {
		t.Errorf("a policy that adds nothing takes the place: %+v", q)
	}
	for name, text := range map[string]string{"c.hcl": "policy { backups = \"/x\" }\n", "d.hcl": "cluster \"x\" {}\n", "e.hcl": "policy { prevent = [\"downtme\"] }\n", "f.hcl": "policy {\n"} {
		write(name, text)
		if _, r := Policies(dir); !r.Diags.HasErrors() {
			t.Errorf("%s is taken", text)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
