package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host/hosts"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
	"github.com/requorum/requorum/spec"
)

// epochs is a lock that only says where it is held.
type epochs map[string]int64

func (epochs) Held(context.Context) error { return nil }
func (epochs) Release() error             { return nil }
func (epochs) Note(string) error          { return nil }
func (e epochs) Epochs() map[string]int64 { return e }

// TestTakeSaved: a plan counts as used here only once a majority of the voters has its
// mark.
func TestTakeSaved(t *testing.T) {
	for _, c := range []struct {
		name   string
		broken int // places where nothing can be written
		locked epochs
		used   bool
		says   string
	}{
		{"all", 0, epochs{"m1": 1, "m2": 1, "m3": 1}, true, ""},
		{"a majority", 1, epochs{"m1": 1, "m2": 1, "m3": 1}, true, ""},
		{"too few", 2, epochs{"m1": 1, "m2": 1, "m3": 1}, false, "at 1 of 3 voters only"},
		{"not locked", 0, epochs{"m1": 1}, false, "at 1 of 3 voters only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, state := t.TempDir(), t.TempDir()
			cluster := &spec.Cluster{Name: "demo"}
			for i, name := range []string{"m1", "m2", "m3"} {
				m := spec.Member{Name: name, DataDir: filepath.Join(dir, name)}
				cluster.Members = append(cluster.Members, m)
				base := m.DataDir + ".requorum"
				if err := os.Mkdir(base, 0o700); err != nil {
					t.Fatal(err)
				}
				if i < c.broken {
					if err := os.WriteFile(filepath.Join(base, "runs"), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			run, err := journal.Open(state, "demo", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			file := &saved.File{Digest: "abcd-efgh"}
			s := &session{cluster: cluster, host: hosts.New(cluster, hosts.Options{}), stateDir: state, by: "ops@here", saved: &savedRun{file: file}}
			defer s.close()
			err = s.takeSaved(t.Context(), run, c.locked)
			if (err == nil) != c.used || s.saved.taken != c.used || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, taken %t", err, s.saved.taken)
			}
			if use, err := journal.PlanUse(state, file.Digest); (use != nil) != c.used || err != nil {
				t.Errorf("the journal has %v, %v", use, err)
			}
			if !c.used {
				return
			}
			before, err := os.ReadFile(filepath.Join(dir, "m3.requorum", "runs", "plan-abcd-efgh.jsonl"))
			if err != nil {
				t.Error(err)
			}
			if err = s.takeSaved(t.Context(), run, c.locked); err == nil || !strings.Contains(err.Error(), "was used") {
				t.Error(err)
			}
			if after, _ := os.ReadFile(filepath.Join(dir, "m3.requorum", "runs", "plan-abcd-efgh.jsonl")); string(after) != string(before) {
				t.Error("it was marked once more")
			}
		})
	}
}

// TestMarkAll: the marks that a saved plan is used are made at once, an interrupt does not
// leave half of them, and who is silent is waited for no longer than the limit.
func TestMarkAll(t *testing.T) {
	places := []planner.Place{{Name: "m1"}, {Name: "m2"}, {Name: "m3"}}
	over, end := context.WithCancel(t.Context())
	end()
	var all sync.WaitGroup
	all.Add(len(places))
	marked, err := markAll(over, places, 30*time.Second, func(ctx context.Context, _ planner.Place) error {
		all.Done()
		all.Wait() // one after the other, nobody would get here
		return ctx.Err()
	})
	if marked != 3 || err != nil {
		t.Errorf("%d, %v", marked, err)
	}
	began, silent := time.Now(), make(chan struct{})
	defer close(silent)
	marked, err = markAll(t.Context(), places, 300*time.Millisecond, func(ctx context.Context, p planner.Place) error {
		switch p.Name {
		case "m2":
			return errors.New("disk full")
		case "m3":
			<-silent // it does not hear that its time is over either
		}
		if _, limited := ctx.Deadline(); !limited {
			t.Error("no deadline")
		}
		return nil
	})
	if marked != 1 || err == nil || !strings.Contains(err.Error(), "m2: disk full") || !strings.Contains(err.Error(), "m3: no answer within 300ms") {
		t.Errorf("%d, %v", marked, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if text := tooFewMarks(marked, 3, err).Error(); !strings.Contains(text, "1 of 3") || !strings.Contains(text, "plan again") {
		t.Error(text)
	}
	if text := tooFewMarks(1, 3, nil).Error(); strings.Contains(text, "%!") || !strings.Contains(text, "1 of 3") {
		t.Error(text)
	}
}
