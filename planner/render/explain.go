package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/explain"
)

// Topics lists all topics in their groups.
func Topics(all []explain.Topic, s Style) string {
	heads := map[explain.Group]string{
		explain.GroupAction: "Actions: what the steps of a plan do", explain.GroupRefusal: "Refusals: why there is no plan",
		explain.GroupNotice: "Notes: what a plan says beside its steps", explain.GroupState: "States: what a cluster can be in",
		explain.GroupConsent: "Consents: what --accept agrees to", explain.GroupBug: "Bugs: what some versions of etcd do wrong",
		explain.GroupFinding: "Findings: what only an audit says",
	}
	var b strings.Builder
	for _, g := range explain.Groups() {
		var rows [][]string
		for _, t := range all {
			switch {
			case t.Group != g:
			case t.Number > 0:
				rows = append(rows, []string{fmt.Sprintf("%2d", t.Number), t.Name, t.Title})
			default:
				rows = append(rows, []string{t.Name, t.Title})
			}
		}
		fmt.Fprintf(&b, "%s\n", s.Bold(heads[g]))
		b.WriteString(table(rows, s.width(), func(_, c int, text string) string {
			if c == len(rows[0])-1 {
				return s.Dim(text)
			}
			return text
		}) + "\n")
	}
	return b.String() + paragraph("requorum explain TOPIC tells more: why, what it keeps, what etcd is asked, how to do it by hand. requorum explain --step N [PATH] explains a step of the plan.", s.width(), "", "")
}

// Topic gives one topic as a person reads it in a terminal. The values, of the
// placeholders in a step of a plan, are nil for the topic by itself.
func Topic(t explain.Topic, values []explain.Setting, s Style) string {
	var b strings.Builder
	what := string(t.Group)
	if t.Number > 0 {
		what = fmt.Sprintf("%s %d", what, t.Number)
	}
	gap := max(2, s.width()-utf8.RuneCountInString(t.Name)-utf8.RuneCountInString(what))
	b.WriteString(s.Bold(t.Name) + strings.Repeat(" ", gap) + s.Dim(what) + "\n")
	b.WriteString(paragraph(strings.ToUpper(t.Title[:1])+t.Title[1:]+".", s.width(), "", "") + "\n")
	b.WriteString(paragraph(t.Why, s.width(), "  ", "  "))
	for _, f := range []struct{ label, text string }{{"Versions", t.Versions}, {"Invariant", t.Invariant}, {"Call", t.Call}} {
		if f.text == "" {
			continue
		}
		b.WriteString("\n" + labelled(f.label, f.text, s))
	}
	b.WriteString("\n" + byHand(t, values, s))
	var sources []string
	for _, src := range t.Sources {
		sources = append(sources, sourceText(src))
	}
	for i, text := range sources {
		label := ""
		if i == 0 {
			label = "Source"
		}
		b.WriteString(labelled(label, text, s))
	}
	return b.String()
}

const labelWidth = 13

func labelled(label, text string, s Style) string {
	rest := strings.Repeat(" ", labelWidth)
	out := paragraph(text, s.width(), fmt.Sprintf("  %-*s", labelWidth-2, label), rest)
	if label == "" {
		return out
	}
	return strings.Replace(out, label, s.Dim(label), 1)
}

func sourceText(src explain.Source) string {
	out := src.Module + "/" + src.File
	switch src.Module {
	case "requorum", "web":
		out = src.File
	case "raft":
		out = "raft v" + explain.RaftVersion + ": " + src.File
	case "bbolt":
		out = "bbolt v" + explain.BboltVersion + ": " + src.File
	default:
		out = "etcd v" + explain.EtcdVersion + ": " + out
	}
	if src.Func != "" {
		out += ", " + src.Func
	}
	if src.Words != "" {
		out += ", \"" + src.Words + "\""
	}
	return out
}

// byHand is the commands, in the order in which they are typed, each headed by
// where it makes sense, and what stands for what in them.
func byHand(t explain.Topic, values []explain.Setting, s Style) string {
	if len(t.Equivalent) == 0 {
		return labelled("By hand", "nothing: "+t.NoEquivalent, s) + "\n"
	}
	means := map[string]string{}
	for _, w := range explain.Situations() {
		means[w.Name] = w.Means
	}
	var b strings.Builder
	where := ""
	for _, c := range t.Equivalent {
		head := "By hand, " + means[c.Situation] + ":"
		if c.Changes {
			head = "By hand, " + means[c.Situation] + " (this changes something):"
		}
		if head != where {
			b.WriteString(s.Dim(strings.TrimSuffix(paragraph(head, s.width(), "  ", "    "), "\n")) + "\n")
			where = head
		}
		for i, line := range CommandLines(c.Line, s.width()-4) {
			prompt := "  "
			if i == 0 {
				prompt = "$ "
			}
			b.WriteString("  " + s.Dim(prompt) + line + "\n")
		}
		if c.Exit != 0 {
			text := fmt.Sprintf("exits with %d", c.Exit)
			if c.Says != "" {
				text += ", says \"" + c.Says + "\""
			}
			b.WriteString("    " + s.Warn(text) + "\n")
		}
	}
	b.WriteString(placeholders(t, values, s))
	return b.String() + "\n"
}

// placeholders says what the variables are: the values that a step gives them,
// ready for a shell, or what to put there.
func placeholders(t explain.Topic, values []explain.Setting, s Style) string {
	var b strings.Builder
	given := map[string]bool{}
	member := ""
	for _, v := range values {
		if !slices.ContainsFunc(t.Uses(), func(p explain.Placeholder) bool { return p.Name == v.Name }) {
			continue
		}
		if v.Member != member {
			b.WriteString(s.Dim("  with, for "+v.Member+":") + "\n")
			member = v.Member
		}
		given[v.Name] = true
		b.WriteString("    " + v.Name + "=" + shellWord(v.Value) + "\n")
	}
	var rows [][]string
	for _, p := range t.Uses() {
		if !given[p.Name] {
			rows = append(rows, []string{"  $" + p.Name, p.Means})
		}
	}
	b.WriteString(table(rows, s.width(), func(_, c int, text string) string { return s.Dim(text) }))
	return b.String()
}

// shellWord quotes s where a shell would take it for more than one word.
func shellWord(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("_-./:,=@%+", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// CommandLines breaks a command at spaces outside of quotes, so that it can be
// copied as it stands.
func CommandLines(line string, width int) []string {
	var words []string
	var word strings.Builder
	quote := rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == ' ':
			words = append(words, word.String())
			word.Reset()
			continue
		}
		word.WriteRune(r)
	}
	words = append(words, word.String())
	var out []string
	now := words[0]
	for _, w := range words[1:] {
		if utf8.RuneCountInString(now)+1+utf8.RuneCountInString(w)+2 > width {
			out = append(out, now+` \`)
			now = "  " + w
			continue
		}
		now += " " + w
	}
	return append(out, now)
}

// ExplainedStep gives a step of a plan with the topic of its action.
func ExplainedStep(p *planner.Plan, st planner.Step, t explain.Topic, s Style) string {
	var b strings.Builder
	b.WriteString(paragraph(fmt.Sprintf("Step %d of %d: %s %s", st.ID, len(p.Steps), st.Title, On(st)), s.width(), "", "  "))
	undo := st.Undo
	if undo == "" {
		undo = "no: " + st.NoUndo
	}
	because := st.Reason.Fact
	if at := s.path(st.Reason.Pos.String()); at != "" {
		because += " (" + at + ")"
	}
	for _, f := range []struct{ label, text string }{
		{"Because", because}, {"Quorum", Quorum(st.Before) + " before, " + Quorum(st.After) + " after"},
		{"Waits for", fmt.Sprintf("%s, at most %d s", st.Wait, st.TimeoutSeconds)}, {"Undo", undo},
	} {
		b.WriteString(labelled(f.label, f.text, s))
	}
	return b.String() + "\n" + Topic(t, explain.Values(st.Action), s)
}

// StepJSON is the step, its topic and the values, for programs.
func StepJSON(st planner.Step, t explain.Topic) ([]byte, error) {
	b, err := json.MarshalIndent(struct {
		Step   planner.Step      `json:"step"`
		Topic  explain.Topic     `json:"topic"`
		Values []explain.Setting `json:"values"`
	}{st, t, explain.Values(st.Action)}, "", "  ")
	return append(b, '\n'), err
}
