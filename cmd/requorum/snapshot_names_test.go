package main

import (
	"slices"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/snapshot/source"
)

// TestKeepTouchesOnlyItsOwn: what --keep removes was written by this verb for this
// cluster, and is never the one just written.
func TestKeepTouchesOnlyItsOwn(t *testing.T) {
	at := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)
	name := func(owner string, revision int64, minutes int) string {
		return snapshotName(owner, revision, at.Add(time.Duration(minutes)*time.Minute), "", false)
	}
	list := []source.Object{
		{Name: "/b/" + name("demo", 10, 1)}, {Name: "/b/" + name("demo", 9, 2)}, // the revision went back: a restore
		{Name: "/b/" + name("demo", 20, 3)}, {Name: "/b/" + name("demo", 30, 4)},
		{Name: "/b/" + name("demo", 31, 5) + ".zst.age"},
		{Name: "/b/" + name("demo-2", 1, 0)}, {Name: "/b/" + name("demo@m1", 1, 0)}, {Name: "/b/" + name("old-demo", 1, 0)},
		{Name: "/b/demo-5.db"}, {Name: "/b/demo-5-20261121.db"}, {Name: "/b/" + name("demo", 1, 0) + ".bak"},
		{Name: "/b/demo-5-20261399T990000Z.db"}, {Name: "/b/demo-99999999999999999999-20261121T150000Z.db"},
	}
	for _, tc := range []struct {
		written string
		keep    int
		want    []string
	}{
		{name("demo", 31, 5) + ".zst.age", 2, []string{name("demo", 10, 1), name("demo", 9, 2), name("demo", 20, 3)}},
		{name("demo", 31, 5) + ".zst.age", 1, []string{name("demo", 10, 1), name("demo", 9, 2), name("demo", 20, 3), name("demo", 30, 4)}},
		{name("demo", 31, 5) + ".zst.age", 5, nil},
		{name("demo", 31, 5) + ".zst.age", 50, nil},
		{name("demo", 10, 1), 3, []string{name("demo", 9, 2), name("demo", 20, 3)}}, // a clock that went back
	} {
		var got []string
		for _, n := range tooMany(list, "demo", tc.written, tc.keep) {
			got = append(got, n.base)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("--keep %d after %s removes\n  %q, want\n  %q", tc.keep, tc.written, got, tc.want)
		}
	}
}

func TestFileNamesStayApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"demo", "a b", "a_b", "a/b", "a__b", "../x", ".x", "x", "日本", "", "demo@m1"} {
		got := fileName(name)
		if got == "" || unfit.MatchString(got) || got[0] == '.' && name != "" && len(got) < 9 {
			t.Errorf("%q becomes %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %q", name, other, got)
		}
		seen[got] = name
	}
	if fileName("inf-platform.eu") != "inf-platform.eu" {
		t.Error("a plain name is changed")
	}
}
