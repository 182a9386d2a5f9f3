package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	r, err := Open(dir, "a/b *c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []string{"begin", "intent", "done", "end"} {
		if err := r.Write(Record{Event: e, Cluster: "a/b *c"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(r.Path())
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if len(lines) != 4 {
		t.Fatalf("%d lines: %s", len(lines), b)
	}
	for _, l := range lines {
		var rec Record
		if err := json.Unmarshal(l, &rec); err != nil || rec.Time == "" || rec.Cluster != "a/b *c" {
			t.Errorf("%s: %v", l, err)
		}
	}
	info, err := os.Stat(r.Path())
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Dir(r.Path()) != filepath.Join(dir, "runs") {
		t.Errorf("%v %v %s", info, err, r.Path())
	}
}

// TestSeen: the last line for a directory holds, and a line that a crash cut
// short hides nothing.
func TestSeen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if s, err := LastSeen(dir, "/data/m1"); s != nil || err != nil {
		t.Fatalf("nothing was written: %v %v", s, err)
	}
	for _, s := range []Seen{
		{ClusterID: "1", DataDirs: []string{"/data/m1", "/data/m2"}},
		{ClusterID: "2", DataDirs: []string{"/data/m1"}},
	} {
		if err := AppendSeen(dir, s); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "seen.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"cluster_id":"3","data_dirs":["/data/m1"`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{"/data/m1": "2", "/data/m2": "1"} {
		if s, err := LastSeen(dir, data); err != nil || s == nil || s.ClusterID != want {
			t.Errorf("%s: %+v %v", data, s, err)
		}
	}
	// A line longer than any buffer hides nothing either.
	long, err := os.OpenFile(filepath.Join(dir, "seen.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := long.Write(append([]byte("\n"), make([]byte, 3<<20)...)); err != nil {
		t.Fatal(err)
	}
	if err := long.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := LastSeen(dir, "/data/m1"); err != nil || s == nil || s.ClusterID != "2" {
		t.Errorf("beside a long line: %+v %v", s, err)
	}
	if err := AppendSeen(dir, Seen{ClusterID: "4", DataDirs: []string{"/data/m3"}}); err != nil {
		t.Fatal(err)
	}
	if s, err := LastSeen(dir, "/data/m3"); err != nil || s == nil || s.ClusterID != "4" {
		t.Errorf("after a torn line: %+v %v", s, err)
	}
	unreadable := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(filepath.Join(unreadable, "seen.jsonl"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LastSeen(unreadable, "/data/m1"); err == nil {
		t.Error("a journal that can't be read says that nothing was seen")
	}
	if s, err := LastSeen(dir, "/data"); s != nil || err != nil {
		t.Errorf("/data: %+v %v", s, err)
	}
}
