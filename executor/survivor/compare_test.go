package survivor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// three is a stopped cluster, all of whose dbs have the same keys.
func three(t *testing.T, flags ...string) (nodes []*node, dirs []Dir) {
	t.Helper()
	nodes, _ = members(t, 3, flags...)
	c := dial(t, nodes[0], "")
	for i := range 60 {
		put(t, c, fmt.Sprintf("key/%d", i), fmt.Sprintf("value-of-%d-", i)+strings.Repeat("x", 200))
	}
	for i := range 10 {
		must(c.Delete(context.Background(), fmt.Sprintf("key/%d", i)))(t)
	}
	rev := must(c.Get(context.Background(), "key/20"))(t).Header.Revision
	for _, n := range nodes {
		waitFor(t, n.name+" has all", func() bool {
			return must(dial(t, n, "").Get(context.Background(), "x", clientv3.WithSerializable()))(t).Header.Revision == rev
		})
	}
	for _, n := range nodes {
		n.stop()
		dirs = append(dirs, Dir{Name: n.name, DataDir: n.dir})
	}
	return nodes, dirs
}

// harm changes a value in a db.
func harm(t *testing.T, n *node, from, to string) (undo func()) {
	t.Helper()
	path := filepath.Join(n.dir, "member", "snap", "db")
	was := must(os.ReadFile(path))(t)
	if !bytes.Contains(was, []byte(from)) || len(from) != len(to) {
		t.Fatalf("%q is not in %s", from, path)
	}
	write := func(b []byte) { must(0, os.WriteFile(path, b, 0o600))(t) }
	write(bytes.ReplaceAll(was, []byte(from), []byte(to)))
	return func() { write(was) }
}

func compared(t *testing.T, dirs []Dir) map[string]string {
	t.Helper()
	var before []string
	for _, d := range dirs {
		before = append(before, tree(t, d.DataDir))
	}
	wrong := must(Compare(context.Background(), dirs, nil))(t)
	for i, d := range dirs {
		if tree(t, d.DataDir) != before[i] {
			t.Errorf("%s was changed", d.Name)
		}
	}
	return wrong
}

// A changed value that its own log can't speak of is found in another's db: of
// three the odd one is named alone, of two both are.
func TestCompareFindsAChangedValue(t *testing.T) {
	t.Parallel()
	nodes, dirs := three(t, "--snapshot-count", "10")
	if wrong := compared(t, dirs); len(wrong) > 0 {
		t.Fatalf("the whole ones: %v", wrong)
	}
	undo := harm(t, nodes[1], "value-of-3-", "value-of-9-") // an old version of a deleted key
	wrong := compared(t, dirs)
	if len(wrong) != 1 || !strings.Contains(wrong["m2"], `key "key/3"`) || !strings.Contains(wrong["m2"], "m1 and m3 agree") {
		t.Errorf("of three: %v", wrong)
	}
	wrong = compared(t, dirs[:2])
	if len(wrong) != 2 || !strings.Contains(wrong["m1"], `m1 and m2 differ at revision`) || !strings.Contains(wrong["m2"], "nothing says which") {
		t.Errorf("of two: %v", wrong)
	}
	again := harm(t, nodes[2], "value-of-5-", "value-of-1-") // three of three differ
	if wrong = compared(t, dirs); len(wrong) != 3 {
		t.Errorf("of three: %v", wrong)
	}
	again()
	undo()
	if wrong := compared(t, dirs); len(wrong) > 0 {
		t.Errorf("healed: %v", wrong)
	}
}

// What one has compacted away, or has not applied yet, is no difference; a record
// that is missing in the middle is.
func TestCompareAllowsForWhatOneLacks(t *testing.T) {
	t.Parallel()
	nodes, cluster := members(t, 3)
	c := dial(t, nodes[0], "")
	for i := range 40 {
		put(t, c, fmt.Sprintf("key/%d", i%7), fmt.Sprint(i))
	}
	nodes[2].stop()
	for i := range 40 {
		put(t, c, fmt.Sprintf("key/%d", i%7), fmt.Sprint(i))
	}
	must(c.Compact(context.Background(), 30, clientv3.WithCompactPhysical()))(t)
	nodes[1].kill()
	nodes[0].kill()
	_ = cluster
	dirs := []Dir{{Name: "m1", DataDir: nodes[0].dir}, {Name: "m2", DataDir: nodes[1].dir}, {Name: "m3", DataDir: nodes[2].dir}}
	if wrong := compared(t, dirs); len(wrong) > 0 {
		t.Errorf("%v", wrong)
	}
}
