package render

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
)

const (
	// MarkdownLimit is how long a comment on a pull request may be.
	MarkdownLimit = 65536
	// MarkdownLeast is what a verdict needs at most.
	MarkdownLeast = 4096
)

// Marker is the hidden first line by which a comment is found again, to be brought
// up to date in its place.
func Marker(cluster string) string { return "<!-- requorum:plan " + commentWord(cluster) + " -->" }

// commentWord is a name as it may stand in a comment, which ends at "--".
func commentWord(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "-%x-", r)
		}
	}
	if b.Len() > mostMarker {
		sum := sha256.Sum256([]byte(name))
		return b.String()[:mostMarker-33] + fmt.Sprintf("-%x", sum[:16]) // still one name's own
	}
	return b.String()
}

// mostMarker is how long a name in a comment's marker may be.
const mostMarker = 250

// Markdown gives a saved plan as a comment on a pull request, in at most limit bytes,
// which MarkdownLeast is the least of: the verdict first, and whole; then what there
// is room for.
func Markdown(f *saved.File, limit int) string {
	p := f.Plan
	m := &markdown{limit: max(limit, MarkdownLeast) - len(cutNote)}
	m.always(Marker(p.Cluster) + "\n" + verdictOf(f))
	if f.Basis == saved.BasisDiff {
		m.table("### What changed", []string{"Setting", "From", "To"}, len(f.Changes), func(i int) []string {
			c := f.Changes[i]
			return []string{c.Path, ChangeValue(c.Before, c.Sensitive), ChangeValue(c.After, c.Sensitive)}
		})
	}
	if r := p.Refusal; r != nil {
		m.section("\n### Why not\n\n**" + escape(string(r.Code)) + "**: " + escape(r.Detail) + "\n")
		for _, line := range r.Remedy {
			m.section("- " + escape(line) + "\n")
		}
	}
	if len(p.Steps) > 0 {
		m.table("### Steps", []string{"#", "Step", "On", "Quorum after", "Risk", "Undo"}, len(p.Steps), func(i int) []string {
			s := p.Steps[i]
			undo := s.Undo
			if undo == "" {
				undo = "no: " + s.NoUndo
			}
			return []string{fmt.Sprint(s.ID), s.Title, On(s), Quorum(s.After), string(s.Risk().Level), undo}
		})
		m.section(Mermaid(p))
	}
	m.table("### Found", []string{"Found", "On", "Because"}, len(p.States), func(i int) []string {
		s := p.States[i]
		return []string{string(s.State), s.Member, s.Fact}
	})
	m.table("### Survivors", []string{"Survivor", "Last log", "Proven", "Verdict"}, len(p.Survivors), func(i int) []string {
		s := p.Survivors[i]
		return []string{s.Name, s.Last, s.Proven, s.Verdict}
	})
	notes(m, p)
	folded(m, p)
	m.section("\n<sub>requorum " + escape(f.Version) + ", planned " + escape(f.Timestamp) + "</sub>\n")
	return m.text()
}

const cutNote = "\n*Cut: the whole plan is longer than a comment may be. `requorum show` has all of it.*\n"

// markdown is a text that is put together while there is room.
type markdown struct {
	b     strings.Builder
	limit int
	full  bool
}

func (m *markdown) always(s string) { m.b.WriteString(s) }

// section adds s whole, or nothing of it.
func (m *markdown) section(s string) bool {
	if m.full || m.b.Len()+len(s) > m.limit {
		m.full = m.full || s != ""
		return false
	}
	m.b.WriteString(s)
	return true
}

func (m *markdown) text() string {
	if m.full {
		m.b.WriteString(cutNote)
	}
	return m.b.String()
}

// table adds as many rows as there is room for.
func (m *markdown) table(head string, cols []string, n int, row func(i int) []string) {
	if n == 0 || !m.section("\n"+head+"\n\n| "+strings.Join(cols, " | ")+" |\n"+strings.Repeat("|---", len(cols))+"|\n") {
		return
	}
	for i := range n {
		var cells []string
		for _, c := range row(i) {
			cells = append(cells, escape(c))
		}
		if !m.section("| " + strings.Join(cells, " | ") + " |\n") {
			return
		}
	}
}

// verdictOf is what nobody may miss, in less than MarkdownLeast bytes.
func verdictOf(f *saved.File) string {
	p := f.Plan
	mark, verdict := "✅", "Nothing to do."
	risk, at := p.Risk()
	switch {
	case p.Refusal != nil:
		mark, verdict = "⛔", "Refused: there is no safe plan. Nothing would be changed."
	case p.Changes():
		verdict = Count(len(p.Steps), "step") + "."
		if p.Loss.Kind == planner.LossUnknown {
			verdict += " Data may be lost."
		}
		if risk.Level != planner.RiskNone || p.Loss.Kind == planner.LossUnknown {
			mark = "⚠️"
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s Cluster %s: %s\n\n**%s**\n\n", mark, fitted(short(p.Cluster, 100), 200), fitted(short(p.Headline, 300), 700), verdict)
	row := func(what, text string) {
		if text != "" {
			fmt.Fprintf(&b, "| **%s** | %s |\n", what, text)
		}
	}
	b.WriteString("| | |\n|---|---|\n")
	if p.Changes() {
		text := string(risk.Level)
		if at > 0 && risk.Level != planner.RiskNone {
			text += fmt.Sprintf(", step %d: %s", at, fitted(short(risk.Text, 200), 500))
		}
		row("Risk", text)
	}
	row("Loss", fitted(short(strings.TrimPrefix(p.Loss.Text, "Lost: "), 300), 600))
	var needs []string
	for i, n := range p.Needs {
		if i == 5 {
			needs = append(needs, fmt.Sprintf("and %d more", len(p.Needs)-i))
			break
		}
		needs = append(needs, "--accept="+short(string(n.Consent), 60)+map[bool]string{true: " (given)"}[n.Given])
	}
	row("Needs", fitted(strings.Join(needs, ", "), 600))
	row("Quorum now", fitted(Quorum(p.Before), 200))
	switch {
	case f.Basis == saved.BasisDiff:
		row("Made from", "two files, and a cluster in sync with the old one; no cluster was looked at")
	default:
		row("Digest", "`"+f.Digest+"`") // of a fixed length
	}
	row("Not checked", fitted(short(f.Unchecked, 300), 500))
	return b.String()
}

// mostPeriods is how many steps a diagram has.
const mostPeriods = 40

// Mermaid is the quorum over the steps, as a timeline that GitHub and GitLab draw.
func Mermaid(p *planner.Plan) string {
	var b strings.Builder
	b.WriteString("\n```mermaid\ntimeline\n    title Quorum over the steps\n    now : " + diagramWord(Quorum(p.Before)) + "\n")
	for i, s := range p.Steps {
		if i == mostPeriods {
			fmt.Fprintf(&b, "    and %d more : see above\n", len(p.Steps)-i)
			break
		}
		fmt.Fprintf(&b, "    %d %s %s : %s\n", s.ID, diagramWord(s.Title), diagramWord(short(On(s), 40)), diagramWord(Quorum(s.After)))
	}
	b.WriteString("```\n")
	return b.String()
}

// diagramWord is s without what means something in a diagram.
func diagramWord(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case r == '→':
			return '>'
		case strings.ContainsRune(":;#{}<>\"'`%\\[]()|", r), r < ' ', r == 0x7f:
			return ' '
		}
		return r
	}, s)), " ")
}

func notes(m *markdown, p *planner.Plan) {
	head := "\n### To know\n\n"
	say := func(text string) {
		if m.section(head + "- " + text + "\n") {
			head = ""
		}
	}
	for _, text := range Told(p) {
		say(escape(text))
	}
	for _, d := range p.Doubts {
		who := ""
		if d.Member != "" {
			who = d.Member + ": "
		}
		say("Not known: " + escape(who+d.Fact+" ("+d.Why+"). To settle it: "+d.Settle))
	}
	for _, n := range p.Needs {
		say("Needs <code>--accept=" + escape(string(n.Consent)) + "</code>: " + escape(n.Why))
	}
	for _, n := range p.Notices {
		say(escape(n.Text) + " (" + escape(string(n.Code)) + ")")
	}
}

// folded is what one opens to learn more: the steps' reasons and the members.
func folded(m *markdown, p *planner.Plan) {
	for _, s := range p.Steps {
		var b strings.Builder
		because := s.Reason.Fact
		if at := s.Reason.Pos.String(); at != "" {
			because += " (" + at + ")"
		}
		fmt.Fprintf(&b, "\n<details><summary>Step %d: %s %s</summary>\n\n", s.ID, escape(s.Title), escape(On(s)))
		fmt.Fprintf(&b, "Because %s\n\nRisk: %s. Waits for: %s, at most %d s.\n", escape(because), escape(s.Risk().Text), escape(s.Wait), s.TimeoutSeconds)
		if len(s.Equivalent) > 0 {
			b.WriteString(fenced("sh", strings.Join(s.Equivalent, "\n")))
		}
		for _, f := range s.Files {
			fmt.Fprintf(&b, "\n%s: %s%s\n%s", escape(f.Member), escape(f.Path), map[bool]string{true: " (new)"}[f.New], fenced("diff", Diff(f)))
		}
		b.WriteString("\n</details>\n")
		m.section(b.String())
	}
	if len(p.Members) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString("\n<details><summary>Members</summary>\n\n| Member | Seen | Data | Then |\n|---|---|---|---|\n")
	for _, l := range p.Members {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", escape(l.Name), escape(l.Seen), escape(l.Data), escape(l.Todo))
	}
	b.WriteString("\n</details>\n")
	m.section(b.String())
}

// fenced is text that is shown as it is.
func fenced(kind, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fmt.Sprintf("\n%s%s\n%s\n%s\n", fence, kind, text, fence)
}

// escape gives text that Markdown shows as it is: no markup, no HTML, nobody is
// notified and no issue linked.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(escaped(r))
	}
	return b.String()
}

func escaped(r rune) string {
	switch {
	case r == '&':
		return "&amp;"
	case r == '<':
		return "&lt;"
	case r == '>':
		return "&gt;"
	case r == '\n' || r == '\r' || r == '\t':
		return " "
	case r < ' ' || r == 0x7f:
		return ""
	case r == '#' || r == '@':
		return string(r) + "\u2060" // a word joiner, which no name and no number has
	case strings.ContainsRune("\\`*_{}[]|~!$", r):
		return "\\" + string(r)
	}
	return string(r)
}

// fitted is escape(s) in at most n bytes: what is escaped grows, and is never cut within
// a character.
func fitted(s string, n int) string {
	whole := escape(s)
	if len(whole) <= n {
		return whole
	}
	const dots = "…"
	var b strings.Builder
	for _, r := range s {
		e := escaped(r)
		if b.Len()+len(e)+len(dots) > n {
			break
		}
		b.WriteString(e)
	}
	return b.String() + dots
}

// short is at most n runes of s.
func short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
