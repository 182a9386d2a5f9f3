package explain

import (
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
)

// Every bug that a plan may warn of can be asked for by the code of the note, and no
// code means two things.
func TestBugsAreExplained(t *testing.T) {
	taken := map[string]bool{}
	for _, topic := range All() {
		taken[topic.Name] = true
	}
	for _, b := range planner.Bugs() {
		found := Find(string(b.Code))
		if len(found) != 1 || taken[string(b.Code)] {
			t.Errorf("%s: %d topics", b.Code, len(found))
			continue
		}
		topic := found[0]
		for _, want := range append(b.Fixed(), b.Affected[0].String(), b.Remedy[1:]) {
			if !strings.Contains(topic.Why, want) {
				t.Errorf("%s lacks %q: %s", b.Code, want, topic.Why)
			}
		}
		if topic.Sources[0].File != b.Source || strings.Contains(topic.Invariant, ", ;") || strings.HasSuffix(topic.Invariant, "once, , and goes on.") {
			t.Errorf("%+v", topic)
		}
		for _, o := range b.Matters {
			if occasions[o] == "" {
				t.Errorf("%s: %s has no words", b.Code, o)
			}
		}
	}
}
