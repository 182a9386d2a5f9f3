// Package render turns a plan into what people and programs read. Each renderer
// is a pure function of its arguments: it knows no terminal, no width and no
// colour that it isn't given.
package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// Style is how text is shown: how wide, and in which colours.
type Style struct {
	Width int // columns; below 40 is taken as 80
	// Dir is the folder that paths below it are shown from; "" shows all whole.
	Dir string
	// Good, Bad, Warn, Bold and Dim colour a piece of text; Plain leaves them
	// all as they are.
	Good, Bad, Warn, Bold, Dim func(string) string
}

// Plain is 80 columns without colour.
func Plain() Style {
	same := func(s string) string { return s }
	return Style{Width: 80, Good: same, Bad: same, Warn: same, Bold: same, Dim: same}
}

// path shows the paths in text from Dir where they lie below it.
func (s Style) path(text string) string {
	dir := strings.TrimSuffix(s.Dir, "/") + "/"
	if dir == "/" {
		return text
	}
	var b strings.Builder
	for {
		i := strings.Index(text, dir)
		if i < 0 {
			return b.String() + text
		}
		b.WriteString(text[:i])
		// In the midst of a longer path it is another folder.
		if i > 0 && !strings.ContainsRune(" (\"'=,;:", rune(text[i-1])) {
			b.WriteString(dir)
		}
		text = text[i+len(dir):]
	}
}

func (s Style) width() int {
	if s.Width < 40 {
		return 80
	}
	return s.Width
}

// JSON gives the plan's JSON form, indented.
func JSON(p *planner.Plan) ([]byte, error) {
	b, err := json.MarshalIndent(p, "", "  ")
	return append(b, '\n'), err
}

// Text gives the plan as a person reads it in a terminal.
func Text(p *planner.Plan, s Style) string {
	var b strings.Builder
	b.WriteString(headline(p, s))
	b.WriteString(members(p, s))
	b.WriteString(states(p, s))
	b.WriteString(survivors(p, s))
	b.WriteString(snapshot(p, s))
	b.WriteString(origin(p, s))
	if p.Refusal != nil {
		b.WriteString(refusal(p.Refusal, s))
		b.WriteString(doubts(p, s))
		b.WriteString(notices(p, s))
		b.WriteString("\n" + s.Bad("No safe plan.") + " Nothing was changed.\n")
		return b.String()
	}
	b.WriteString(steps(p, s))
	b.WriteString(files(p, s))
	b.WriteString(worst(p, s))
	b.WriteString(passed(p, s))
	b.WriteString(loss(p, s))
	b.WriteString(doubts(p, s))
	b.WriteString(notices(p, s))
	b.WriteString(needs(p, s))
	b.WriteString("\n" + summary(p, s))
	return b.String()
}

func headline(p *planner.Plan, s Style) string {
	text := p.Headline
	if p.Refusal != nil {
		text = "refused: " + text
	}
	text = paragraph(fmt.Sprintf("Cluster %s: %s", p.Cluster, text), s.width(), "", "  ")
	// Coloured after it was wrapped: colours have no width.
	name := "Cluster " + p.Cluster + ":"
	text = strings.Replace(text, name, s.Bold(name), 1)
	switch {
	case p.Refusal != nil:
		text = strings.Replace(text, "refused:", s.Bad("refused:"), 1)
	case p.Route == planner.RouteInSync:
		text = strings.Replace(text, "in sync", s.Good("in sync"), 1)
	}
	return text + "\n"
}

func members(p *planner.Plan, s Style) string {
	todo := false
	for _, m := range p.Members {
		todo = todo || m.Todo != ""
	}
	head := []string{"Member", "Seen", "Data"}
	if todo {
		head = append(head, "Then")
	}
	rows := [][]string{head}
	for _, m := range p.Members {
		row := []string{m.Name, m.Seen, m.Data}
		if todo {
			row = append(row, m.Todo)
		}
		rows = append(rows, row)
	}
	return table(rows, s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 0:
			return s.Bold(text)
		case c == 3:
			return s.Good(text)
		case p.Members[r-1].Alarm:
			return s.Warn(text)
		}
		return text
	})
}

// survivors is the table of disks that a recovery chooses from.
func survivors(p *planner.Plan, s Style) string {
	if len(p.Survivors) == 0 {
		return ""
	}
	rows := [][]string{{"Survivor", "Last log", "Proven", "Verdict"}}
	for _, l := range p.Survivors {
		rows = append(rows, []string{l.Name, l.Last, l.Proven, l.Verdict})
	}
	return "\n" + table(rows, s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 0:
			return s.Bold(text)
		case p.Survivors[r-1].Chosen:
			return s.Good(text)
		}
		return text
	})
}

func snapshot(p *planner.Plan, s Style) string {
	o := p.Snapshot
	if o == nil || o.Problem != "" || p.Route != planner.RouteRestore {
		return ""
	}
	if d := o.Dir; d != nil {
		text := fmt.Sprintf("Source %s: a stopped member's directory, %s, revision %d and what its log holds beyond; pages, records and log checked, values not provable", s.path(d.Path), Bytes(o.Size), o.Revision)
		return "\n" + paragraph(text, s.width(), "  ", "    ")
	}
	proof := "sha256 " + o.SHA256[:min(12, len(o.SHA256))] + "… proven"
	if !o.HasHash {
		proof = "no hash: pages and records checked, values not provable"
	}
	text := fmt.Sprintf("Snapshot %s: %s, revision %d, %s, %s", s.path(o.Source), Bytes(o.Size), o.Revision, plural(o.Keys, "key"), proof)
	if l := o.Live; l != nil {
		text += fmt.Sprintf("; saved from %s at %s and kept at %s", l.URL, l.At, s.path(o.Path))
	}
	return "\n" + paragraph(text, s.width(), "  ", "    ")
}

// origin says where the data that is there came from.
func origin(p *planner.Plan, s Style) string {
	o := p.Origin
	if o == nil {
		return ""
	}
	verb := map[string]string{planner.ProvenanceRestore: "restored from", planner.ProvenanceRecover: "recovered into", planner.ProvenanceForceNew: "recovered in place from"}[o.Kind]
	text := fmt.Sprintf("Data: %s %s", verb, s.path(o.Source))
	if o.SHA256 != "" {
		text += ", sha256 " + o.SHA256[:min(12, len(o.SHA256))] + "…"
	}
	if o.Revision > 0 {
		text += fmt.Sprintf(", revision %d", o.Revision)
	}
	if o.RevisionBump > 0 {
		text += fmt.Sprintf(" and %d more", o.RevisionBump)
	}
	return "\n" + paragraph(text+fmt.Sprintf(", on %s by %s.", o.When, o.By), s.width(), "  ", "    ")
}

func steps(p *planner.Plan, s Style) string {
	if len(p.Steps) == 0 {
		return ""
	}
	rows := [][]string{{"#", "Step", "On", "Quorum after", "Undo"}}
	for _, st := range p.Steps {
		undo := st.Undo
		if undo == "" {
			undo = "no: " + st.NoUndo
		}
		on := On(st)
		if n := len(st.Target); n > 4 && n == len(p.Members) {
			on = fmt.Sprintf("all %d", n)
		}
		rows = append(rows, []string{fmt.Sprint(st.ID), st.Title, on, Quorum(st.After), undo})
	}
	return "\n" + table(rows, s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 1:
			return s.Bold(text)
		case c == 3 && !p.Steps[r-1].After.Has():
			return s.Warn(text)
		case c == 4 && p.Steps[r-1].Undo == "":
			return s.Warn(text)
		}
		return text
	})
}

// On says which members a step is about.
func On(st planner.Step) string {
	if a, ok := st.Action.(planner.MoveLeader); ok {
		return a.From + " → " + a.To
	}
	return strings.Join(st.Target, " ")
}

// Quorum says how a cluster stands: "2 of 3, may lose 0", or "none".
func Quorum(q planner.Quorum) string {
	if !q.Has() {
		return "none"
	}
	return fmt.Sprintf("%d of %d, may lose %d", q.Healthy, q.Voters, q.Tolerance())
}

// worst says what one more failure would do at the plan's thinnest moment, where
// the steps touch the quorum at all.
func worst(p *planner.Plan, s Style) string {
	var thin *planner.Step
	moved := false
	for i, st := range p.Steps {
		moved = moved || st.Before != st.After
		if st.After.Has() && (thin == nil || st.After.Tolerance() < thin.After.Tolerance()) {
			thin = &p.Steps[i]
		}
	}
	if thin == nil || !moved || thin.After.OneMore() != planner.OneMoreLoses {
		return ""
	}
	text := fmt.Sprintf("The thinnest moment is after step %d, with %d of %d voters healthy: one more failure would stop writes until it is mended.", thin.ID, thin.After.Healthy, thin.After.Voters)
	if thin.After.Voters == 1 {
		text += " Its disk is the only one then."
	}
	return "\n" + paragraph(text, s.width(), "  ", "    ")
}

// maxDoubts is how many are shown; the JSON form has all.
const maxDoubts = 8

func doubts(p *planner.Plan, s Style) string {
	var b strings.Builder
	for i, d := range p.Doubts {
		if i == maxDoubts {
			b.WriteString(paragraph(fmt.Sprintf("and %d more (--json shows all)", len(p.Doubts)-i), s.width(), "  ", "    "))
			break
		}
		who := ""
		if d.Member != "" {
			who = d.Member + ": "
		}
		not := "Not known: "
		if d.State == planner.FactContradicted {
			not = "Contradicted: "
		}
		b.WriteString(paragraph(fmt.Sprintf("%s%s%s (%s). To settle it: %s.", not, who, d.Fact, s.path(d.Why), s.path(d.Settle)), s.width(), "  ", "    "))
	}
	if b.Len() == 0 {
		return ""
	}
	return s.Warn(strings.TrimRight(b.String(), "\n")) + "\n"
}

func passed(p *planner.Plan, s Style) string {
	if len(p.Passed) == 0 || len(p.Steps) == 0 {
		return ""
	}
	var parts []string
	for _, r := range p.Passed {
		parts = append(parts, fmt.Sprintf("%s (%s)", r.Route, r.Why))
	}
	return "\n" + paragraph("Route "+string(p.Route)+", because these are not open: "+strings.Join(parts, ", ")+".", s.width(), "  ", "    ")
}

func loss(p *planner.Plan, s Style) string {
	if p.Loss.Text == "" {
		return ""
	}
	text := paragraph(p.Loss.Text, s.width(), "  ", "    ")
	if len(p.Passed) == 0 {
		text = "\n" + text
	}
	if p.Loss.Kind == planner.LossUnknown {
		text = s.Warn(strings.TrimRight(text, "\n")) + "\n"
	}
	return text
}

func notices(p *planner.Plan, s Style) string {
	var b strings.Builder
	for _, n := range p.Notices {
		if n.Code == planner.NoteNotCompared || n.Code == planner.CodeDataUnknown {
			continue // the doubt says it, and what would settle it
		}
		text := "Note: " + s.path(n.Text)
		where := string(n.Code)
		if at := s.path(n.Pos.String()); at != "" {
			where += ", " + at
		}
		text += " (" + where + ")"
		b.WriteString(paragraph(text+".", s.width(), "  ", "    "))
	}
	return b.String()
}

func needs(p *planner.Plan, s Style) string {
	var b strings.Builder
	for _, n := range p.Needs {
		b.WriteString(paragraph(fmt.Sprintf("Needs: --accept=%s%s: %s.", n.Consent, map[bool]string{true: " (given)"}[n.Given], s.path(n.Why)), s.width(), "  ", "    "))
	}
	if b.Len() == 0 {
		return ""
	}
	if len(p.Needs) > 1 {
		var names []string
		for _, n := range p.Needs {
			if !slices.Contains(names, string(n.Consent)) {
				names = append(names, string(n.Consent))
			}
		}
		b.WriteString("  Together: --accept=" + strings.Join(names, ",") + "\n")
	}
	return s.Warn(strings.TrimRight(b.String(), "\n")) + "\n"
}

func refusal(r *planner.Refusal, s Style) string {
	var b strings.Builder
	b.WriteString("\n" + paragraph(fmt.Sprintf("%s: %s", r.Code, s.path(r.Detail)), s.width(), "  ", "    "))
	if at := s.path(r.Pos.String()); at != "" {
		b.WriteString("    at " + s.Dim(at) + "\n")
	}
	for _, line := range r.Remedy {
		b.WriteString(paragraph(s.path(line), s.width(), "  - ", "    "))
	}
	return b.String()
}

func summary(p *planner.Plan, s Style) string {
	if !p.Changes() {
		return s.Good("Nothing to do.") + "\n"
	}
	counts := map[string]int{}
	for i, st := range p.Steps {
		if !betweenStarts(p.Steps, i) {
			counts[st.Kind] += len(st.Target)
		}
	}
	var parts []string
	if n := min(counts[planner.Stop{}.Kind()], counts[planner.Start{}.Kind()]); n > 0 && p.Route == planner.RouteReconfigure {
		parts = append(parts, fmt.Sprintf("%d to restart", n))
		counts[planner.Stop{}.Kind()] -= n
		counts[planner.Start{}.Kind()] -= n
	}
	if n := counts[planner.Promote{}.Kind()] - counts[planner.Join{}.Kind()]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d to promote", n))
	}
	for _, k := range []struct{ kind, text string }{
		{planner.Recover{}.Kind(), "to recover from"}, {planner.Restore{}.Kind(), "to restore"}, {planner.Start{}.Kind(), "to start"},
		{planner.Adopt{}.Kind(), "to adopt"}, {planner.Stop{}.Kind(), "to stop"}, {planner.Update{}.Kind(), "to update"},
		{planner.Join{}.Kind(), "to add"}, {planner.SetAside{}.Kind(), "to set aside"},
	} {
		if n := counts[k.kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k.text))
		}
	}
	if counts[planner.Downgrade{}.Kind()] > 0 {
		parts = append(parts, "a downgrade to enable")
	}
	if counts[planner.CancelDowngrade{}.Kind()] > 0 {
		parts = append(parts, "a downgrade to call off")
	}
	last := "nothing to remove"
	if n := counts[planner.Remove{}.Kind()]; n > 0 {
		last = fmt.Sprintf("%d to remove from the member list; no data is removed", n)
	}
	if len(parts) == 0 && last == "nothing to remove" {
		parts = []string{"nothing to change, only to wait and verify"}
	}
	text := paragraph("Plan: "+strings.Join(append(parts, last), ", ")+".", s.width(), "", "  ")
	return s.Bold(strings.TrimRight(text, "\n")) + "\n"
}

// betweenStarts reports whether the step belongs to the first start of a new identity,
// closed, after which its members are stopped and started for their clients: they are
// to be started once, for who reads it.
func betweenStarts(steps []planner.Step, i int) bool {
	switch a := steps[i].Action.(type) {
	case planner.Start:
		return a.Closed
	case planner.Stop:
		if i == 0 {
			return false
		}
		v, ok := steps[i-1].Action.(planner.Verify)
		return ok && v.Closed != nil
	}
	return false
}

// Bytes gives n in the unit that suits it.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 3 {
		f, i = f/unit, i+1
	}
	return fmt.Sprintf("%.1f %s", f, []string{"KiB", "MiB", "GiB", "TiB"}[i])
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
