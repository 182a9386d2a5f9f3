package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRuns: those that ended, one that is at work, one that was killed in the midst of
// a line, and what an earlier version left.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	begin := func(n int, records ...Record) *Run {
		t.Helper()
		r, err := Open(dir, "demo", at.Add(time.Duration(n)*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range append([]Record{{Event: Began, Run: r.ID(), Cluster: "demo", Verb: "apply", Steps: 2}}, records...) {
			if err := r.Write(rec); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	ended := begin(0, Record{Event: Skipped, Step: 1}, Record{Event: Intent, Step: 2, Title: "start"}, Record{Event: Done, Step: 2},
		Record{Event: Ended, Result: ResultDone}, Record{Event: State, Headline: "healthy"})
	_ = ended.SavePlan([]byte("{}"))
	_ = ended.Close()
	killed := begin(1, Record{Event: Intent, Step: 1, Title: "stop"})
	if _, err := killed.f.WriteString(`{"time":"2026-01-02T03:05:06Z","event":"do`); err != nil {
		t.Fatal(err)
	}
	_ = killed.Close()
	running := begin(2, Record{Event: Intent, Step: 1, Title: "fence"})
	defer running.Close()
	flat := filepath.Join(Folder(dir), "20260102T030705Z-demo-9.jsonl")
	if err := os.WriteFile(flat, []byte(`{"time":"2020-01-02T03:07:05Z","event":"begin","cluster":"demo"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(Folder(dir), "20260102T030805Z-demo-10"), 0o700); err != nil { // killed before its journal was there
		t.Fatal(err)
	}
	runs, err := Runs(Folder(dir))
	if err != nil || len(runs) != 4 {
		t.Fatalf("%+v %v", runs, err)
	}
	want := []struct{ id, result, at, now string }{
		{running.ID(), ResultRunning, "step 1, fence", ""}, {killed.ID(), ResultCutOff, "step 1, stop", ""},
		{ended.ID(), ResultDone, "", "healthy"}, {"20260102T030705Z-demo-9", ResultCutOff, "", ""},
	}
	for i, w := range want {
		if r := runs[i]; r.ID != w.id || r.Result != w.result || r.At != w.at || r.Now != w.now {
			t.Errorf("%d: %+v, want %+v", i, r, w)
		}
	}
	if runs[2].Steps != 2 || runs[2].Done != 1 || runs[2].Skipped != 1 || runs[2].PlanPath == "" {
		t.Errorf("%+v", runs[2])
	}
	if _, torn, err := Read(runs[1].Path); torn != 1 || err != nil {
		t.Errorf("%d torn lines, %v", torn, err)
	}
	for name, id := range map[string]string{"": running.ID(), "0705Z-demo": "20260102T030705Z-demo-9", killed.ID(): killed.ID()} {
		if s, err := Find(Folder(dir), name); err != nil || s.ID != id {
			t.Errorf("%q: %s %v", name, s.ID, err)
		}
	}
	for _, name := range []string{"demo", "nothing"} {
		if s, err := Find(Folder(dir), name); err == nil {
			t.Errorf("%q: %s", name, s.ID)
		}
	}
}

// TestTornLine: a record after one that could not be written whole is on a line of its
// own, and a journal that is somewhere else by now takes none.
func TestTornLine(t *testing.T) {
	r, err := Open(t.TempDir(), "demo", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.f.WriteString(`{"event":"in`); err != nil {
		t.Fatal(err)
	}
	r.torn = true
	if err := r.Write(Record{Event: Ended}); err != nil {
		t.Fatal(err)
	}
	if records, torn, err := Read(r.Path()); len(records) != 1 || torn != 1 || err != nil {
		t.Errorf("%+v %d %v", records, torn, err)
	}
	if err := os.Rename(r.dir, r.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(Record{Event: Ended}); err == nil {
		t.Error("a journal that is gone was written")
	}
}

// TestCheck: what keeps a run from being recorded is known without a trace.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := Check(filepath.Join(dir, "a", "b")); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{file, filepath.Join(file, "below")} {
		if err := Check(state); err == nil || !strings.Contains(err.Error(), "XDG_STATE_HOME") {
			t.Errorf("%s: %v", state, err)
		}
	}
}

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
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Dir(filepath.Dir(r.Path())) != filepath.Join(dir, "runs") {
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

// A run that stopped half-way forgets nobody: what it was to remove may be in the cluster
// still.
func TestSeenKeeps(t *testing.T) {
	was := Seen{ClusterID: "1", Members: []string{"m1", "m2", "m3"}, DataDirs: []string{"/d/m1", "/d/m2", "/d/m3"}, Units: []string{"", "etcd.service", ""}}
	now := Seen{ClusterID: "1", Members: []string{"m1"}, DataDirs: []string{"/d/m1"}, Units: []string{""}}
	now.Keep(was)
	if !slices.Equal(now.Members, was.Members) || !slices.Equal(now.DataDirs, was.DataDirs) || !slices.Equal(now.Units, was.Units) {
		t.Errorf("%+v", now)
	}
	now.Keep(was)
	if len(now.Members) != 3 {
		t.Errorf("twice: %+v", now)
	}
	now.Keep(Seen{Members: []string{"m4"}}) // of before places were kept
	if len(now.Members) != 3 {
		t.Errorf("without a place: %+v", now)
	}
}
