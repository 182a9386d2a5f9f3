package explain

import (
	"embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/requorum/requorum/planner"
)

//go:embed topics/*.txt
var files embed.FS

// The files of each group, in the order in which they are shown.
var order = []struct {
	group Group
	files []string
}{
	{GroupAction, []string{"actions"}},
	{GroupRefusal, []string{"refusals-identity", "refusals-data", "refusals-certificates", "refusals-answers", "refusals-calm"}},
	{GroupNotice, []string{"notices"}},
	{GroupState, []string{"states-quorum", "states-identity", "states-storage", "states-logical"}},
	{GroupConsent, []string{"consents"}},
	{GroupBug, []string{"bugs"}},
}

// All gives every topic, in groups, the states by number.
func All() []Topic {
	out, err := parseAll()
	if err != nil {
		// The files are part of the program, and a test reads them.
		panic("explain: " + err.Error())
	}
	return out
}

func parseAll() ([]Topic, error) {
	var out []Topic
	for _, o := range order {
		for _, name := range o.files {
			b, err := files.ReadFile("topics/" + name + ".txt")
			if err != nil {
				return nil, err
			}
			topics, err := parse(o.group, string(b))
			if err != nil {
				return nil, fmt.Errorf("topics/%s.txt:%w", name, err)
			}
			out = append(out, topics...)
		}
	}
	return out, nil
}

func number(n int) string { return strconv.Itoa(n) }

// parse reads one file. A topic begins with "[NAME] title" (states and
// bugs have theirs from the planner), and has the lines
//
//	why: invariant: call:          text, which goes on in lines that are indented
//	$ SITUATION[!] COMMAND         by hand; the ! where it changes something
//	> EXIT WORDS                   how the command before it ends, where not with 0
//	none: WHY                      where there is nothing to do by hand
//	from: MODULE FILE FUNC "WORDS" FUNC is - where there are only words
func parse(group Group, text string) ([]Topic, error) {
	var out []Topic
	var field *string
	for i, line := range strings.Split(text, "\n") {
		fail := func(what string) error { return fmt.Errorf("%d: %s: %q", i+1, what, line) }
		if strings.HasPrefix(line, "[") {
			name, title, ok := strings.Cut(line[1:], "]")
			if !ok {
				return nil, fail("no end of the name")
			}
			out = append(out, titled(Topic{Group: group, Name: name, Title: strings.TrimSpace(title)}))
			field = nil
			continue
		}
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(out) == 0 {
			return nil, fail("before the first topic")
		}
		t := &out[len(out)-1]
		if strings.HasPrefix(line, "  ") {
			if field == nil {
				return nil, fail("nothing to go on with")
			}
			*field += " " + strings.TrimSpace(line)
			continue
		}
		key, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		field = nil
		switch key {
		case "why:":
			t.Why, field = rest, &t.Why
		case "invariant:":
			t.Invariant, field = rest, &t.Invariant
		case "call:":
			t.Call, field = rest, &t.Call
		case "none:":
			t.NoEquivalent, field = rest, &t.NoEquivalent
		case "$":
			where, command, _ := strings.Cut(rest, " ")
			t.Equivalent = append(t.Equivalent, Command{Line: command, Situation: strings.TrimSuffix(where, "!"), Changes: strings.HasSuffix(where, "!")})
			field = &t.Equivalent[len(t.Equivalent)-1].Line
		case ">":
			exit, words, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(exit)
			if err != nil || len(t.Equivalent) == 0 {
				return nil, fail("no exit code, or no command before it")
			}
			c := &t.Equivalent[len(t.Equivalent)-1]
			c.Exit, c.Says = n, words
		case "from:":
			s, ok := source(rest)
			if !ok {
				return nil, fail("not a source")
			}
			t.Sources = append(t.Sources, s)
		default:
			return nil, fail("not a field")
		}
	}
	return out, nil
}

func source(text string) (Source, bool) {
	text, words, _ := strings.Cut(text, " \"")
	f := strings.Fields(text)
	if len(f) != 3 {
		return Source{}, false
	}
	return Source{Module: f[0], File: f[1], Func: strings.TrimPrefix(f[2], "-"), Words: strings.TrimSuffix(words, "\"")}, true
}

// titled fills in what the planner knows of a topic.
func titled(t Topic) Topic {
	switch t.Group {
	case GroupBug:
		for _, b := range planner.Bugs() {
			if string(b.Code) != t.Name {
				continue
			}
			var versions []string
			for _, r := range b.Affected {
				versions = append(versions, r.String())
			}
			t.Title, t.Versions = b.Title, strings.Join(versions, ", ")+"; fixed in none of these minors"
			if f := b.Fixed(); len(f) > 0 {
				t.Versions = strings.Join(versions, ", ") + "; fixed in " + strings.Join(f, ", ")
			}
			t.Sources = []Source{{Module: "web", File: b.Source}}
		}
		return t
	case GroupState:
	default:
		return t
	}
	for _, s := range planner.States() {
		if string(s.Code) == t.Name {
			t.Number, t.Title = s.Number, s.Title
		}
	}
	return t
}
