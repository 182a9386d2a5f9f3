package review

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/harness"
)

// officialSARIF is OASIS's schema of SARIF 2.1.0, as a library that others wrote carries
// it.
func officialSARIF(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "report", "v210", "sarif", "schema.go")
	f, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Names[0].Name == "schema" {
			text, err = strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		}
		return true
	})
	if err != nil || !strings.Contains(text, `"id": "`+render.SARIFSchema+`"`) {
		t.Fatalf("no schema of SARIF 2.1.0: %v", err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(render.SARIFSchema, v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(render.SARIFSchema)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reports are audits of real files, and one that is made up of whatever a name, a path or
// a fact may hold.
func reports(t *testing.T) map[string]audit.Report {
	t.Helper()
	e := harness.New(t)
	out := map[string]audit.Report{}
	add := func(name string, exit int, args ...string) {
		t.Helper()
		r := e.Run(slices.Concat([]string{"audit", "--format", "json"}, args)...).Want(t, exit)
		var report audit.Report
		if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
			t.Fatal(err)
		}
		out[name] = report
	}
	c := e.Cluster(3).Write()
	add("nothing there", 2, c.Path())
	e.Apply(c.Path())
	add("serving", 2, c.Path())
	add("serving, fails on errors only", 0, "--fail-on", "error", c.Path())
	c.Stop()
	add("stopped, and a file that is not there", 1, c.Path(), e.Path("no such.hcl"))
	nasty := []string{"", `"`, "\\", "\n", "{x=\"y\"}", "ä ö\u2028", "\xff", "<!-- -->", "| a | b", "%20 #", "$$"}
	made := audit.Report{Format: audit.FormatVersion, Version: "dev\"\n", At: "2026-01-02T03:04:05Z", Unix: 1767323045, FailOn: audit.Warning}
	for i, s := range nasty {
		made.Clusters = append(made.Clusters, audit.Cluster{Path: fmt.Sprint(i) + s, Name: s + fmt.Sprint(i), Problem: map[bool]string{true: "not " + s}[i%3 == 1], Findings: []audit.Finding{}})
	}
	for _, k := range audit.Kinds() {
		for i, s := range nasty {
			if made.Clusters[i].Problem == "" {
				made.Clusters[i].Findings = append(made.Clusters[i].Findings, audit.Finding{
					Code: k.Code, Severity: k.Severity, Title: k.Title, Member: s, Fact: "seen " + s, Remedy: []string{k.Remedy, s}, Pos: spec.Position{File: "/x/" + s + ".hcl", Line: i, Column: i},
				})
			}
		}
	}
	out["made up"] = made
	out["of no file"] = audit.Report{At: made.At}
	return out
}

// TestAuditForOthers: what others wrote reads the report in each form for programs: SARIF
// by OASIS's schema and a library for it, Prometheus's text by Prometheus's parser.
func TestAuditForOthers(t *testing.T) {
	t.Parallel()
	schema := officialSARIF(t)
	for name, r := range reports(t) {
		b, err := render.AuditSARIF(r, "/x")
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		read, err := sarif.FromBytes(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := 0
		rules := read.Runs[0].Tool.Driver.Rules
		for _, res := range read.Runs[0].Results {
			n++
			if *rules[res.RuleIndex].ID != *res.RuleID {
				t.Errorf("%s: rule %d is %s, not %s", name, res.RuleIndex, *rules[res.RuleIndex].ID, *res.RuleID)
			}
		}
		want := 0
		for _, c := range r.Clusters {
			want += len(c.Findings)
		}
		if n != want {
			t.Errorf("%s: %d results of %d findings", name, n, want)
		}
		prometheus(t, name, r)
		if md := render.AuditMarkdown(r, render.MarkdownLimit); len(md) > render.MarkdownLimit || !strings.HasPrefix(md, render.AuditMarker+"\n") || !strings.Contains(md, "Audited ") {
			t.Errorf("%s: %d bytes of Markdown:\n%.300s", name, len(md), md)
		}
	}
	// The check can fail.
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}`))
	if err != nil || schema.Validate(v) == nil {
		t.Error("a tool without a name passes")
	}
}

// prometheus parses the report as a server would, and counts.
func prometheus(t *testing.T, name string, r audit.Report) {
	t.Helper()
	text := render.AuditPrometheus(r)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v\n%.2000s", name, err, text)
	}
	up, findings, problems := 0, 0, 0
	for _, m := range families["requorum_audit_up"].GetMetric() {
		up += int(m.GetGauge().GetValue())
	}
	series := map[string]bool{}
	for _, m := range families["requorum_audit_finding"].GetMetric() {
		key := ""
		for _, l := range m.GetLabel() {
			key += l.GetName() + "\x00" + l.GetValue() + "\x00"
		}
		if series[key] {
			t.Errorf("%s: a series twice: %q", name, key)
		}
		series[key] = true
	}
	for _, c := range r.Clusters {
		findings += len(c.Findings)
		if c.Problem != "" {
			problems++
		}
	}
	counted := 0
	for _, m := range families["requorum_audit_findings"].GetMetric() {
		counted += int(m.GetGauge().GetValue())
	}
	if up != len(r.Clusters)-problems || len(series) != findings || counted != findings {
		t.Errorf("%s: up %d of %d, %d findings and %d of %d counted", name, up, len(r.Clusters), len(series), counted, findings)
	}
}

// TestAuditPolicy: conftest reads reports, and takes and refuses them as the example says.
func TestAuditPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := func() map[string]any {
		finding := func(code string, v audit.Severity) any {
			return map[string]any{"code": code, "severity": v.String(), "fact": "seen"}
		}
		return map[string]any{"requorum_audit": audit.FormatVersion, "clusters": []any{
			map[string]any{"path": "a.hcl", "cluster": "a", "findings": []any{finding("shared-disk", audit.Info), finding("drift-settings", audit.Warning)}},
			map[string]any{"path": "b.hcl", "cluster": "b", "findings": []any{}},
		}}
	}
	first := func(r map[string]any) map[string]any { return of(r, "clusters", 0) }
	finding := func(r map[string]any) map[string]any { return of(r, "clusters", 0, "findings", 1) }
	cases := map[string]struct {
		change func(map[string]any)
		says   string
	}{
		"fine":                 {func(map[string]any) {}, ""},
		"an error":             {func(r map[string]any) { finding(r)["severity"] = "error" }, "a: drift-settings"},
		"critical":             {func(r map[string]any) { finding(r)["severity"] = "critical" }, "a: drift-settings"},
		"an unknown severity":  {func(r map[string]any) { finding(r)["severity"] = "odd" }, "a: drift-settings"},
		"no severity":          {func(r map[string]any) { delete(finding(r), "severity") }, "a: drift-settings"},
		"no code":              {func(r map[string]any) { delete(finding(r), "code") }, "not said"},
		"no backup":            {func(r map[string]any) { finding(r)["code"] = "backup-missing" }, "a: backup-missing"},
		"not looked at":        {func(r map[string]any) { first(r)["problem"] = "no such file" }, "a.hcl could not be looked at: no such file"},
		"no findings":          {func(r map[string]any) { delete(first(r), "findings") }, "a.hcl: its findings are not said"},
		"findings are a word":  {func(r map[string]any) { first(r)["findings"] = "none" }, "a.hcl: its findings are not said"},
		"a finding is a word":  {func(r map[string]any) { first(r)["findings"] = []any{"x"} }, "not said"},
		"no clusters":          {func(r map[string]any) { r["clusters"] = []any{} }, "no cluster was audited"},
		"clusters are missing": {func(r map[string]any) { delete(r, "clusters") }, "no cluster was audited"},
		"another format":       {func(r map[string]any) { r["requorum_audit"] = "2.0" }, "no audit of requorum's"},
		"a plan":               {func(r map[string]any) { delete(r, "requorum_audit") }, "no audit of requorum's"},
	}
	var files []string
	names := map[string]string{}
	for name, k := range cases {
		r := good()
		k.change(r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		names[name] = filepath.Join(dir, fmt.Sprintf("%d.json", len(names)))
		if err := os.WriteFile(names[name], b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, names[name])
	}
	real := filepath.Join(dir, "real.json")
	e := harness.New(t)
	e.Run("audit", "--format", "json", "--out", real, e.Cluster(1).Write().Path()).Want(t, 2)
	got := conftestIn(t, "audit", append(files, real)...)
	for name, k := range cases {
		j := got[names[name]]
		if said := strings.Join(j.denied, "\n"); (len(j.denied) == 0) != (k.says == "") || !strings.Contains(said, k.says) {
			t.Errorf("%s: it should be denied with %q: %q", name, k.says, j.denied)
		}
	}
	if j := got[names["fine"]]; strings.Join(j.warned, " ") != "a: drift-settings" {
		t.Errorf("warned of %q", j.warned)
	}
	if said := strings.Join(got[real].denied, "\n"); !strings.Contains(said, "demo: no-cluster") || !strings.Contains(said, "demo: backup-missing") {
		t.Errorf("a real one: %s", said)
	}
}

// TestAuditOut: a report takes the place of an older one, and of nothing else, and is
// whole at any moment.
func TestAuditOut(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	for _, format := range []string{"json", "sarif", "markdown", "prometheus"} {
		path := e.Path("report." + format)
		for range 2 {
			if r := e.Run("audit", "--format", format, "--out", path, c.Path()).Want(t, 2); r.Stdout != "" {
				t.Errorf("on stdout: %s", r)
			}
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o644 || info.Size() == 0 {
			t.Errorf("%s: %v %v", format, info, err)
		}
		e.Run("audit", "--format", format, "--out", c.Path(), c.Path()).Want(t, 1).Says(t, "is no report of an audit")
		e.Run("audit", "--format", format, "--out", e.Path("none", "x"), c.Path()).Want(t, 1).Says(t, "--out")
		link := e.Path("link." + format)
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		e.Run("audit", "--format", format, "--out", link, c.Path()).Want(t, 1).Says(t, "is a link, and is left as it is")
		if _, err := os.Readlink(link); err != nil {
			t.Error(err)
		}
	}
	// Another tool's report is not ours to replace.
	b, err := os.ReadFile(e.Path("report.sarif"))
	if err != nil || !strings.HasPrefix(string(b), render.SARIFHead) {
		t.Fatalf("%v\n%.300s", err, b)
	}
	theirs := e.Path("theirs.sarif")
	if err := os.WriteFile(theirs, []byte(strings.Replace(string(b), `"name": "requorum"`, `"name": "another"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Run("audit", "--format", "sarif", "--out", theirs, c.Path()).Want(t, 1).Says(t, "is no report of an audit")
	e.Run("validate", c.Path()).Want(t, 0)
	e.Run("audit", "--out", e.Path("x"), c.Path()).Want(t, 1).Says(t, "text goes to stdout")
	e.Run("audit", "--fail-on", "none", c.Path()).Want(t, 1).Says(t, "there is no severity")
	e.Run("audit", "--parallel", "0", c.Path()).Want(t, 1)
	e.Run("audit", "--format", "xml", c.Path()).Want(t, 1)
	e.Run("audit", "--fail-on", "critical", c.Path()).Want(t, 0)
}
