package render

import (
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner/audit"
)

// AuditPrometheus gives the report in Prometheus's text format, for the node exporter's
// textfile collector. Every cluster has a count of each severity, zeros too, so that an
// alert ends when its cause does.
func AuditPrometheus(r audit.Report) string {
	var b strings.Builder
	family := func(name, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
	}
	family("requorum_audit_timestamp_seconds", "When the audit began.")
	fmt.Fprintf(&b, "requorum_audit_timestamp_seconds %d\n", r.Unix)
	family("requorum_audit_info", "Which requorum audited.")
	fmt.Fprintf(&b, "requorum_audit_info%s 1\n", labels("version", r.Version))
	family("requorum_audit_up", "Whether the cluster of the file could be looked at.")
	for _, c := range r.Clusters {
		up := 1
		if c.Problem != "" {
			up = 0
		}
		fmt.Fprintf(&b, "requorum_audit_up%s %d\n", labels("cluster", c.Name, "path", c.Path), up)
	}
	family("requorum_audit_duration_seconds", "How long the look at the cluster took.")
	for _, c := range r.Clusters {
		fmt.Fprintf(&b, "requorum_audit_duration_seconds%s %g\n", labels("cluster", c.Name, "path", c.Path), c.Seconds)
	}
	family("requorum_audit_findings", "How many findings of a severity the cluster has.")
	for _, c := range r.Clusters {
		for _, v := range audit.Severities() {
			n := 0
			for _, f := range c.Findings {
				if f.Severity == v {
					n++
				}
			}
			if c.Problem == "" {
				fmt.Fprintf(&b, "requorum_audit_findings%s %d\n", labels("cluster", c.Name, "path", c.Path, "severity", v.String()), n)
			}
		}
	}
	family("requorum_audit_finding", "One for each finding.")
	for _, c := range r.Clusters {
		for _, f := range c.Findings {
			fmt.Fprintf(&b, "requorum_audit_finding%s 1\n", labels("cluster", c.Name, "path", c.Path, "code", string(f.Code), "severity", f.Severity.String(), "member", f.Member))
		}
	}
	return b.String()
}

// labels are name and value in turn, as the text format wants them.
func labels(pairs ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, fmt.Sprintf(`%s="%s"`, pairs[i], escape.Replace(strings.ToValidUTF8(pairs[i+1], "\uFFFD"))))
	}
	return "{" + strings.Join(out, ",") + "}"
}
