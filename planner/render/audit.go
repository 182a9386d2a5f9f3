package render

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner/audit"
)

// AuditJSON gives the report's JSON form, indented.
func AuditJSON(r audit.Report) ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

// AuditText gives the report as a person reads it in a terminal: clusters with findings
// one by one, the others counted.
func AuditText(r audit.Report, s Style) string {
	var b strings.Builder
	for _, c := range r.Clusters {
		if len(c.Findings) == 0 && c.Problem == "" {
			continue
		}
		b.WriteString(auditHead(c, s) + "\n")
		for _, f := range c.Findings {
			b.WriteString(auditFinding(f, s))
		}
	}
	b.WriteString(auditSummary(r, s))
	return b.String()
}

func auditHead(c audit.Cluster, s Style) string {
	if c.Problem != "" {
		text := paragraph(fmt.Sprintf("%s: not looked at: %s", s.path(c.Path), s.path(c.Problem)), s.width(), "", "  ")
		return strings.Replace(text, "not looked at:", s.Bad("not looked at:"), 1)
	}
	quorum := "no quorum"
	if c.Quorum.Has() {
		quorum = "quorum " + Quorum(c.Quorum)
	}
	name := "Cluster " + c.Name
	text := paragraph(fmt.Sprintf("%s (%s): %s, %s", name, s.path(c.Path), plural(len(c.Findings), "finding"), quorum), s.width(), "", "  ")
	return strings.Replace(text, name, s.Bold(name), 1)
}

func auditFinding(f audit.Finding, s Style) string {
	mark := f.Severity.String()
	head := fmt.Sprintf("%s  %s", mark, f.Code)
	if f.Member != "" {
		head += "  " + f.Member
	}
	if at := f.Pos.String(); at != "" {
		head += "  " + s.path(at)
	}
	text := paragraph(head+": "+f.Title, s.width(), "  ", "    ")
	text = strings.Replace(text, mark, auditPaint(f.Severity, s)(mark), 1)
	text += paragraph("Seen: "+s.path(f.Fact), s.width(), "    ", "    ")
	for i, line := range f.Remedy {
		if i == 0 {
			line = "Do: " + line
		}
		text += paragraph(s.path(line), s.width(), "    ", "    ")
	}
	return text + "\n"
}

func auditPaint(v audit.Severity, s Style) func(string) string {
	switch {
	case v >= audit.Error:
		return s.Bad
	case v == audit.Warning:
		return s.Warn
	}
	return s.Dim
}

// auditSummary says how many clusters there are, and how many findings of each kind.
func auditSummary(r audit.Report, s Style) string {
	clean, problems, total := 0, 0, 0
	for _, c := range r.Clusters {
		switch {
		case c.Problem != "":
			problems++
		case len(c.Findings) == 0:
			clean++
		}
		total += len(c.Findings)
	}
	text := fmt.Sprintf("Audited %s: ", plural(len(r.Clusters)-problems, "cluster"))
	if total == 0 {
		text += "no findings"
	} else {
		var parts []string
		all := audit.Severities()
		for i := len(all) - 1; i >= 0; i-- {
			if n := r.Count(all[i]); n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, all[i]))
			}
		}
		text += strings.Join(parts, ", ") + fmt.Sprintf("; %d without findings", clean)
	}
	if problems > 0 {
		text += fmt.Sprintf("; %d could not be looked at", problems)
	}
	out := paragraph(text+".", s.width(), "", "  ")
	if total > 0 {
		out += "requorum explain CODE says more of each.\n"
	}
	return out
}

// AuditMarker is the hidden first line by which a comment is found again.
const AuditMarker = "<!-- requorum:audit -->"

// AuditMarkdown gives the report as a comment or a job's summary, in at most limit
// bytes, of which MarkdownLeast are the least: the counts first, and whole; then what
// there is room for, the worst clusters first as they were asked for.
func AuditMarkdown(r audit.Report, limit int) string {
	m := &markdown{limit: max(limit, MarkdownLeast) - len(cutNote)}
	mark := "✅"
	switch {
	case !r.Whole() || r.Fails():
		mark = "⛔"
	case r.Count(audit.Info)+r.Count(audit.Warning)+r.Count(audit.Error) > 0:
		mark = "⚠️"
	}
	m.always(AuditMarker + "\n### " + mark + " requorum audit\n\n" + escape(strings.Split(auditSummary(r, wideStyle()), "\n")[0]) + "\n")
	type row struct {
		cluster string
		audit.Finding
	}
	var rows []row
	var problems []audit.Cluster
	for _, severity := range audit.Severities() {
		var some []row
		for _, c := range r.Clusters {
			for _, f := range c.Findings {
				if f.Severity == severity {
					some = append(some, row{c.Name, f})
				}
			}
		}
		rows = append(some, rows...) // the worst first
	}
	for _, c := range r.Clusters {
		if c.Problem != "" {
			problems = append(problems, c)
		}
	}
	m.table("### Not looked at", []string{"File", "Why"}, len(problems), func(i int) []string {
		return []string{problems[i].Path, problems[i].Problem}
	})
	m.table("### Findings", []string{"Severity", "Code", "Cluster", "Member", "Seen", "Do", "Where"}, len(rows), func(i int) []string {
		f := rows[i]
		return []string{f.Severity.String(), string(f.Code), f.cluster, f.Member, f.Fact, strings.Join(f.Remedy, " "), f.Pos.String()}
	})
	m.section("\n<sub>requorum " + escape(r.Version) + ", audited " + escape(r.At) + "</sub>\n")
	return m.text()
}

func wideStyle() Style {
	s := Plain()
	s.Width = 1 << 20
	return s
}
