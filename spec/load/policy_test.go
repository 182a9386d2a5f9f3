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
