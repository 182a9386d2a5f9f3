package scenario

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Two survivors whose databases differ in a value that no log speaks of (S14): the key
// and both are named, and nothing is recovered until a person has chosen.
func TestSurvivorsThatDiffer(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(5).Write()
	hands := e.ByHand(c.Members)
	harness.Fill(t, c.Endpoints(), keysPerTest)
	cli := harness.Client(t, c.Endpoints()...)
	put(t, cli, "/twice", "the-first-value-of-two")
	put(t, cli, "/twice", "the second")
	if err := harness.SameHash(harness.Context(t), c.Endpoints()); err != nil {
		t.Fatal(err)
	}
	hands.Term()
	c.DropData(c.Members[2:]...)
	if p := e.Plan(c.Path()); p.Route != "recover" || p.Refusal != nil {
		t.Fatalf("route %s, %+v", p.Route, p.Refusal)
	}
	path := filepath.Join(c.Members[0].DataDir, "member", "snap", "db")
	db := read(t, path)
	if !bytes.Contains(db, []byte("the-first-value-of-two")) {
		t.Fatal("the value is not in the db")
	}
	write(t, path, bytes.ReplaceAll(db, []byte("the-first-value-of-two"), []byte("the-First-value-of-two")))
	refused(t, e, c.Path(), "data-damaged")
	p := e.Plan(c.Path())
	for _, word := range []string{"m1 and m2 differ at revision", `"/twice"`, "nothing says which of them is right"} {
		if !strings.Contains(p.Refusal.Detail, word) {
			t.Errorf("%q is not in %s", word, p.Refusal.Detail)
		}
	}
	rename(t, c.Members[0].DataDir, e.Path("the-other-one"))
	if p := e.Plan(c.Path()); p.Route != "recover" || p.Refusal != nil {
		t.Errorf("a person chose m2: route %s, %+v", p.Route, p.Refusal)
	}
}
