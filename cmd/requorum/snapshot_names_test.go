package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
)

// TestKeepTouchesOnlyItsOwn: what --keep removes was written by this verb for this
// cluster, and is never the one just written.
func TestKeepTouchesOnlyItsOwn(t *testing.T) {
	at := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)
	name := func(owner string, revision int64, minutes int) string {
		return snapshotName(owner, revision, at.Add(time.Duration(minutes)*time.Minute), "", false)
	}
	own := (&saver{cluster: "demo"}).owner(origin{live: candidate{Endpoint: planner.Endpoint{ClusterID: "cdf818194e3a8c32"}}})
	list := []source.Object{
		{Name: "/b/" + name(own, 10, 1)}, {Name: "/b/" + name(own, 9, 2)}, // the revision went back: a restore
		{Name: "/b/" + name(own, 20, 3)}, {Name: "s3://b/" + name(own, 30, 4) + "?region=eu-1&endpoint=http%3A%2F%2Fx"},
		{Name: "/b/" + name(own, 31, 5) + ".zst.age"},
		{Name: "/b/" + name("demo", 1, 0)}, {Name: "/b/" + name("demo~0df81819", 1, 0)}, // of before there was an ID; of another cluster
		{Name: "/b/" + name(own+"@m1", 1, 0)}, {Name: "/b/" + name(own+"@m1~disk", 1, 0)},
		{Name: "/b/" + name("demo-2", 1, 0)}, {Name: "/b/" + name("demo@m1", 1, 0)}, {Name: "/b/" + name("old-demo", 1, 0)},
		{Name: "/b/demo-5.db"}, {Name: "/b/demo-5-20261121.db"}, {Name: "/b/" + name("demo", 1, 0) + ".bak"},
		{Name: "/b/demo-5-20261399T990000Z.db"}, {Name: "/b/demo-99999999999999999999-20261121T150000Z.db"},
	}
	for _, tc := range []struct {
		written string
		keep    int
		want    []string
	}{
		{name(own, 31, 5) + ".zst.age", 2, []string{name(own, 10, 1), name(own, 9, 2), name(own, 20, 3)}},
		{name(own, 31, 5) + ".zst.age", 1, []string{name(own, 10, 1), name(own, 9, 2), name(own, 20, 3), name(own, 30, 4)}},
		{name(own, 31, 5) + ".zst.age", 5, nil},
		{name(own, 31, 5) + ".zst.age", 50, nil},
		{name(own, 20, 3), 1, []string{name(own, 10, 1), name(own, 9, 2)}}, // two saves at once: what is newer is the other's
		{name(own, 20, 3), 4, []string{name(own, 10, 1)}},
		{name(own, 10, 1), 3, nil}, // a clock that went back
		{name(own, 99, 9), 1, nil}, // not listed
	} {
		var got []string
		for _, n := range tooMany(list, own, tc.written, tc.keep) {
			got = append(got, n.base)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("--keep %d after %s removes\n  %q, want\n  %q", tc.keep, tc.written, got, tc.want)
		}
	}
}

// A remote destination's settings go along with each name, and only its own uploads
// that take too long are said to be unfinished.
func TestRemoteDestination(t *testing.T) {
	d, err := newDestination(t.Context(), "s3://b/etcd/?region=eu-1&endpoint=http%3A%2F%2Fh%3A1%2F")
	if err != nil || !d.folder || d.join("x~1.db") != "s3://b/etcd/x~1.db?region=eu-1&endpoint=http%3A%2F%2Fh%3A1%2F" || baseOf(d.join("x~1.db")) != "x~1.db" || baseOf(d.list()) != "etcd" {
		t.Errorf("%+v, %v: %s", d, err, d.join("x~1.db"))
	}
	for _, to := range []string{"s3://b", "s3:///x", "s3://u:secret%zz@b/x"} {
		if _, err := newDestination(t.Context(), to); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", to, err)
		}
	}
	now := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)
	v, a := &saver{cluster: "demo", dest: d}, origin{live: candidate{Endpoint: planner.Endpoint{ClusterID: "cdf818194e3a8c32"}}}
	name := snapshotName(v.owner(a), 5, now, "", false)
	long := now.Add(-longUpload - time.Minute)
	begun := []source.Object{
		{Name: d.join(name), ModifiedAt: long},
		{Name: d.join(name), ModifiedAt: now.Add(-time.Hour)},
		{Name: d.join("else/" + name), ModifiedAt: long},
		{Name: d.join("somebody-elses.db"), ModifiedAt: long},
		{Name: d.join(snapshotName("demo~01234567", 5, now, "", false)), ModifiedAt: long},
	}
	if got := v.unfinished(begun, []origin{a}, now); len(got) != 1 || got[0] != begun[0] {
		t.Errorf("%+v", got)
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
