package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/spec"
)

// TestWhatIsABackup: what lies beside snapshots, an empty or a cut one, and one of a time
// to come are none; a name of one's own may be.
func TestWhatIsABackup(t *testing.T) {
	const full = 20 << 10
	now := time.Now()
	for name, c := range map[string]struct {
		size int
		at   time.Time // of the file
		age  time.Duration
		not  string
	}{
		"README.md":                              {full, now, 0, "the name of a snapshot"},
		"restore.sh":                             {full, now, 0, "the name of a snapshot"},
		"etcd.tar.gz":                            {full, now, 0, "the name of a snapshot"},
		"notes.db":                               {0, now, 0, "is empty"},
		"demo-5-20260101T000000Z.db":             {0, now, 0, "is empty"},
		"demo-5-20260101T000000Z.db.zst":         {0, now, 0, "is empty"},
		"cut.snap":                               {smallestDB - 1, now, 0, "no database is that small"},
		"cut.db.age":                             {smallestDB - 1, now, 0, "no database is that small"},
		"ahead.db":                               {full, now.Add(time.Hour), 0, "still to come"},
		"imported-5-20991231T000000Z.db":         {full, now, 0, "-"}, // another cluster's
		"demo-6-20991231T000000Z.db":             {full, now.Add(-48 * time.Hour), 48 * time.Hour, ""},
		"demo-7-20991231T000000Z.db":             {full, now.Add(time.Hour), 0, "still to come"},
		"nightly.db":                             {full, now.Add(-time.Hour), time.Hour, ""},
		"soon.db":                                {full, now.Add(2 * time.Minute), 0, ""},
		"my.snapshot":                            {smallestDB, now.Add(-time.Hour), time.Hour, ""},
		"NIGHTLY.DB.GZ":                          {900, now.Add(-time.Hour), time.Hour, ""},
		"m1.snap.zst.age":                        {900, now.Add(-time.Hour), time.Hour, ""},
		savedNow("demo", now.Add(-3*time.Hour)):  {full, now, 3 * time.Hour, ""},
		savedNow("demo", now.Add(2*time.Minute)): {full, now, 0, ""},
		savedNow("other", now.Add(-3*time.Hour)): {full, now, 0, "-"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, c.size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, c.at, c.at); err != nil {
			t.Fatal(err)
		}
		file := &spec.Cluster{Name: "demo"}
		file.Policy.Backups = dir
		s := &session{cluster: file, stateDir: t.TempDir()}
		b, err := (<-listBackups(t.Context(), file)).of(s, "")
		if err != nil || b.Problem != "" {
			t.Fatal(name, err, b.Problem)
		}
		switch {
		case c.not == "-":
			if b.Newest.Name != "" || b.Passed != "" {
				t.Errorf("%s is another cluster's: %+v", name, b)
			}
		case c.not != "":
			if b.Newest.Name != "" || !strings.Contains(b.Passed, c.not) {
				t.Errorf("%s: %+v, want %q", name, b, c.not)
			}
		case b.Newest.Name != path || time.Duration(b.Newest.Seconds)*time.Second-c.age > time.Minute || c.age-time.Duration(b.Newest.Seconds)*time.Second > time.Minute:
			t.Errorf("%s: %+v, want it %s old", name, b, c.age)
		}
		// The file alone, named as a source: the name need not end in any way.
		file.Policy.Backups, file.Snapshot = "", &spec.Snapshot{Source: path}
		b, err = (<-listBackups(t.Context(), file)).of(s, "")
		if err != nil || (b.Newest.Name == "") != (c.not != "" && c.not != "the name of a snapshot") {
			t.Errorf("%s as the source: %+v %v", name, b, err)
		}
	}
}

func savedNow(owner string, at time.Time) string { return snapshotName(owner, 5, at, "", false) }

// TestBackupsOnADeadMount: what never comes back, whatever it is told, holds nobody up,
// and is no list without backups.
func TestBackupsOnADeadMount(t *testing.T) {
	dead := make(chan struct{})
	defer close(dead)
	k := heldBackups{place: audit.Backups{Place: "/mnt/backups"}}
	began := time.Now()
	got := <-within(t.Context(), 50*time.Millisecond, k, func(context.Context) heldBackups {
		<-dead
		return heldBackups{}
	})
	if !strings.Contains(got.place.Problem, "/mnt/backups gave no list of its files within 50ms") || time.Since(began) < 50*time.Millisecond {
		t.Errorf("%+v", got)
	}
	k.place.Place = "/b"
	if got := <-within(t.Context(), time.Minute, heldBackups{}, func(context.Context) heldBackups { return k }); got.place != k.place {
		t.Errorf("%+v", got)
	}
}
