package explain

import (
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
)

// Every bug that a plan may warn of can be asked for by the code of the note, with
// the versions and the page of the planner's own table.
func TestBugsAreExplained(t *testing.T) {
	for _, b := range planner.Bugs() {
		found := Find(string(b.Code))
		if len(found) != 1 {
			t.Errorf("%s: %d topics", b.Code, len(found))
			continue
		}
		topic := found[0]
		for _, want := range append(b.Fixed(), b.Affected[0].String()) {
			if !strings.Contains(topic.Versions, want) {
				t.Errorf("%s lacks %q: %s", b.Code, want, topic.Versions)
			}
		}
		if topic.Sources[0].File != b.Source || topic.Title != b.Title {
			t.Errorf("%+v", topic)
		}
	}
}
