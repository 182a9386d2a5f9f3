package render

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/explain"
)

// Every topic, and the list of all, fits on 80 columns, and is plain where no
// colour is asked for.
func TestTopicsFit(t *testing.T) {
	all := explain.All()
	texts := map[string]string{"all": Topics(all, Plain())}
	for _, topic := range all {
		text := Topic(topic, nil, Plain())
		texts[string(topic.Group)+" "+topic.Name] = text
		for _, want := range append([]string{topic.Name, "Invariant", "Call", "Source"}, words(topic)...) {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("%s does not show %q", topic.Name, want)
			}
		}
		if !strings.Contains(texts["all"], topic.Name) {
			t.Errorf("%s is not in the list", topic.Name)
		}
	}
	for name, text := range texts {
		for _, line := range strings.Split(text, "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: %d columns: %s", name, utf8.RuneCountInString(line), line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%s: a space at the end of %q", name, line)
			}
		}
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s: colour", name)
		}
	}
}

// words are the texts that have to be shown whole.
func words(topic explain.Topic) []string {
	out := []string{strings.Join(strings.Fields(topic.Why), " "), topic.Invariant}
	for _, c := range topic.Equivalent {
		out = append(out, strings.Fields(c.Line)[0])
	}
	return out
}

// A command that is broken is the same to a shell.
func TestCommandLines(t *testing.T) {
	for _, topic := range explain.All() {
		for _, c := range topic.Equivalent {
			lines := CommandLines(c.Line, 40)
			joined := strings.ReplaceAll(strings.Join(lines, "\n"), " \\\n ", "")
			if joined != c.Line {
				t.Errorf("%s\nbecomes\n%s", c.Line, joined)
			}
		}
	}
	if got := strings.Join(CommandLines("echo 'one two three' four", 20), "\n"); got != "echo \\\n  'one two three' \\\n  four" {
		t.Errorf("quotes are broken:\n%s", got)
	}
}

// A step of each action is explained with its own values, quoted for a shell.
func TestExplainedStep(t *testing.T) {
	for _, a := range planner.Actions() {
		v := reflect.New(reflect.TypeOf(a)).Elem()
		fill(v, "x y")
		st := planner.Step{ID: 1, Kind: a.Kind(), Action: v.Interface().(planner.Action), Title: "title", Undo: "yes"}
		topic, ok := explain.ForStep(st)
		if !ok {
			t.Fatalf("no topic for %s", a.Kind())
		}
		values := explain.Values(st.Action)
		if len(values) == 0 && a.Kind() != (planner.Verify{}).Kind() {
			t.Errorf("%s gives no values", a.Kind())
		}
		text := ExplainedStep(&planner.Plan{Steps: []planner.Step{st}}, st, topic, Plain())
		used := 0
		for _, p := range topic.Uses() {
			if strings.Contains(text, "    "+p.Name+"='x y'\n") || strings.Contains(text, "    "+p.Name+"=7\n") {
				used++
			}
		}
		// What the new cluster's list will be is known to none of these.
		if used == 0 && len(values) > 0 && a.Kind() != (planner.Adopt{}).Kind() {
			t.Errorf("%s shows none of its values:\n%s", a.Kind(), text)
		}
	}
}

// fill sets every string to s and every number to 7, and gives every list one.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), s)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), s)
		}
	}
}
