package explain

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/audit"
)

// Every action, code, state and consent is explained, once, and nothing besides.
func TestEverythingIsExplained(t *testing.T) {
	want := map[Group][]string{}
	for _, a := range planner.Actions() {
		want[GroupAction] = append(want[GroupAction], a.Kind())
	}
	for name, code := range codes(t) {
		g := GroupRefusal
		if strings.HasPrefix(name, "Note") {
			g = GroupNotice
		}
		want[g] = append(want[g], code)
	}
	for _, s := range planner.States() {
		want[GroupState] = append(want[GroupState], string(s.Code))
	}
	for _, c := range planner.Consents() {
		kind, _, _ := strings.Cut(c, ":")
		want[GroupConsent] = append(want[GroupConsent], kind)
	}
	for _, b := range planner.Bugs() {
		want[GroupBug] = append(want[GroupBug], string(b.Code))
	}
	for _, k := range audit.Kinds() {
		if k.Own {
			want[GroupFinding] = append(want[GroupFinding], string(k.Code))
		} else if len(Find(string(k.Code))) == 0 {
			t.Errorf("an audit finds %s, and it is not explained", k.Code)
		}
	}
	got := map[Group][]string{}
	for _, topic := range All() {
		if slices.Contains(got[topic.Group], topic.Name) {
			t.Errorf("%s %s is explained twice", topic.Group, topic.Name)
		}
		got[topic.Group] = append(got[topic.Group], topic.Name)
	}
	for _, g := range Groups() {
		for _, name := range want[g] {
			if !slices.Contains(got[g], name) {
				t.Errorf("%s %s is not explained", g, name)
			}
		}
		for _, name := range got[g] {
			if !slices.Contains(want[g], name) {
				t.Errorf("%s %s is explained, and there is none", g, name)
			}
		}
	}
	if n := len(want[GroupAction]); n < 19 {
		t.Errorf("only %d actions", n)
	}
}

// codes are the constants of planner.Code by their names.
func codes(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(gotoken.NewFileSet(), "../refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
			s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out[v.Names[0].Name] = s
		}
		return true
	})
	if len(out) < 50 {
		t.Fatalf("only %d codes found in refusal.go", len(out))
	}
	return out
}

// Every field says something.
func TestEveryFieldIsFilled(t *testing.T) {
	for _, topic := range All() {
		for name, text := range map[string]string{"title": topic.Title, "why": topic.Why, "invariant": topic.Invariant, "call": topic.Call} {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: no %s", topic.Name, name)
			}
		}
		if n := len(strings.Fields(topic.Why)); n < 20 {
			t.Errorf("%s: why has %d words only", topic.Name, n)
		}
		if len(topic.Sources) == 0 {
			t.Errorf("%s: no source", topic.Name)
		}
		if (len(topic.Equivalent) == 0) == (topic.NoEquivalent == "") {
			t.Errorf("%s: commands, or why there are none: one of both", topic.Name)
		}
		if topic.Group == GroupAction && len(topic.Equivalent) == 0 {
			t.Errorf("%s: an action that nobody could do by hand", topic.Name)
		}
	}
}

var betweenSentences = regexp.MustCompile(`[.!?;:](?:\s|$)`)

// sentences are the parts of a topic that no other one may have. What stands
// before and after a colon counts by itself.
func sentences(topic Topic) []string {
	var out []string
	for _, text := range []string{topic.Title, topic.Why, topic.Invariant, topic.Call, topic.NoEquivalent} {
		for _, s := range betweenSentences.Split(text, -1) {
			s = strings.ToLower(strings.Join(strings.Fields(s), " "))
			if strings.Count(s, " ") >= 3 { // "none", "nospace": no sentence
				out = append(out, s)
			}
		}
	}
	return out
}

// Nor does one say what docs/refusals.md says already.
func TestNotThePage(t *testing.T) {
	b, err := os.ReadFile("../../docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]bool{}
	for _, s := range betweenSentences.Split(string(b), -1) {
		page[strings.ToLower(strings.Join(strings.Fields(s), " "))] = true
	}
	for _, topic := range All() {
		for _, s := range sentences(topic) {
			if page[s] {
				t.Errorf("%s: docs/refusals.md has %q", topic.Name, s)
			}
		}
	}
}

// A gRPC method with its fields may be named again: it is what it is.
var rpc = regexp.MustCompile(`^etcdserverpb\.\w+/\w+ \{[^}]*\}[^a-z]*$`)

// No two explanations share a sentence.
func TestNoSharedSentence(t *testing.T) {
	seen := map[string]string{}
	for _, topic := range All() {
		for _, s := range sentences(topic) {
			if rpc.MatchString(s) {
				continue
			}
			if other, ok := seen[s]; ok {
				t.Errorf("%s and %s share %q", other, topic.Name, s)
			}
			seen[s] = string(topic.Group) + " " + topic.Name
		}
	}
	if len(seen) < 600 {
		t.Errorf("only %d sentences", len(seen))
	}
}

// What stands in a command is explained: each placeholder and each situation is
// used, and none is used that nobody explains.
func TestPlaceholdersAndSituations(t *testing.T) {
	names, where := map[string]bool{}, map[string]bool{}
	for _, topic := range All() {
		for _, c := range topic.Equivalent {
			for v := range variables(c.Line) {
				names[v] = true
			}
			where[c.Situation] = true
		}
	}
	for _, p := range Placeholders() {
		if !names[p.Name] {
			t.Errorf("$%s is in no command", p.Name)
		}
		delete(names, p.Name)
	}
	for _, s := range Situations() {
		if !where[s.Name] {
			t.Errorf("no command for %s", s.Name)
		}
		delete(where, s.Name)
	}
	for n := range names {
		t.Errorf("$%s is not explained", n)
	}
	for s := range where {
		t.Errorf("situation %s is not explained", s)
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"set-aside": "action set-aside", "13": "state split-brain", "#13": "state split-brain", "Split-Brain": "state split-brain",
		"data-loss": "consent data-loss", "host-destroyed:m1": "consent host-destroyed", "host-destroyed": "consent host-destroyed",
		"remove-member": "action remove-member, consent remove-member", "remove-member:m2": "consent remove-member",
		"diverged": "refusal diverged", "alarm": "notice alarm",
		"": "", "0": "", "60": "", "nothing": "", "split-brain:m1": "", "host-destroyed:": "",
	} {
		var got []string
		for _, topic := range Find(name) {
			got = append(got, string(topic.Group)+" "+topic.Name)
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("Find(%q) = %q, want %q", name, s, want)
		}
	}
}

// A file that is not in the form says where.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"why: x":                     "1: before the first topic",
		"[a] b\n  x":                 "2: nothing to go on with",
		"[a b":                       "1: no end of the name",
		"[a] b\nwho: x":              "2: not a field",
		"[a] b\nfrom: x":             "2: not a source",
		"[a] b\n> 1 x":               "2: no exit code, or no command before it",
		"[a] b\n$ cluster ls\n> x y": "3: no exit code, or no command before it",
	} {
		if _, err := parse(GroupAction, text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
