package planner_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/html"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/render/page"
	"github.com/requorum/requorum/planner/saved"
)

// planSchema is the published one.
func planSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("../docs/plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(s *jsonschema.Schema, b []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// savedOnce are the files by golden: a digest is dear.
var savedOnce = map[string][]byte{}

func (g golden) saved(t *testing.T) ([]byte, *saved.File) {
	t.Helper()
	if b := savedOnce[g.name]; b != nil {
		f := &saved.File{Plan: &planner.Plan{}}
		if err := errors.Join(json.Unmarshal(b, f), json.Unmarshal(b, f.Plan)); err != nil {
			t.Fatal(err)
		}
		return b, f
	}
	b, err := saved.Encode(g.input(), g.plan(), saved.About{Version: "v1.2.3", Machine: "here", Source: "/w/demo.hcl", Basis: saved.BasisObserved})
	if err != nil {
		t.Fatal(err)
	}
	f, err := saved.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	// The plan of a stop does not follow from its inputs alone, and is never saved.
	if err := f.Derive("v1.2.3"); err != nil && !g.stop {
		t.Errorf("%s: %v", g.name, err)
	}
	savedOnce[g.name] = b
	return b, f
}

// TestSavedPlans: every golden plan is saved and read back as it was, in the form
// that the schema has, and Terraform's types take.
func TestSavedPlans(t *testing.T) {
	schema := planSchema(t)
	for _, g := range goldens() {
		b, f := g.saved(t)
		if err := check(schema, b); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if p := g.plan(); f.Plan.Digest() != p.Digest() || render.Text(f.Plan, render.Plain()) != render.Text(p, render.Plain()) {
			t.Errorf("%s is read back as another plan", g.name)
		}
		var tf tfjson.Plan
		if err := json.Unmarshal(b, &tf); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if err := tf.Validate(); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		changes := slices.ContainsFunc(tf.ResourceChanges, func(r *tfjson.ResourceChange) bool { return !r.Change.Actions.NoOp() })
		if changes != f.Plan.Changes() {
			t.Errorf("%s: %d steps, and the resources change: %t", g.name, len(f.Plan.Steps), changes)
		}
	}
}

// A schema that takes everything would check nothing.
func TestSchemaRefuses(t *testing.T) {
	schema := planSchema(t)
	b, _ := goldens()[8].saved(t) // grow
	for _, path := range []string{"digest", "steps", "resource_changes", "inputs", "steps.0.risk", "steps.0.quorum_after", "steps.0.kind", "resource_changes.0.change.actions"} {
		for _, with := range []any{nil, 7.5} {
			var tree any
			if err := json.Unmarshal(b, &tree); err != nil {
				t.Fatal(err)
			}
			spoil(tree, strings.Split(path, "."), with)
			bad, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			if check(schema, bad) == nil {
				t.Errorf("%s as %v passes", path, with)
			}
		}
	}
}

// spoil takes a key away, or gives it another value.
func spoil(v any, path []string, with any) {
	if list, ok := v.([]any); ok {
		i, _ := strconv.Atoi(path[0])
		spoil(list[i], path[1:], with)
		return
	}
	m := v.(map[string]any)
	switch {
	case len(path) > 1:
		spoil(m[path[0]], path[1:], with)
	case with == nil:
		delete(m, path[0])
	default:
		m[path[0]] = with
	}
}

// TestGoldenMarkdown holds the shapes of change that matter to files.
func TestGoldenMarkdown(t *testing.T) {
	for _, g := range goldens() {
		if !slices.Contains([]string{"in-sync", "grow", "replace", "restore", "recover", "refused-missing"}, g.name) {
			continue
		}
		_, f := g.saved(t)
		f.Digest = "aaaa-bbbb-cccc-dddd-eeee" // the rest is compared, not this
		compareFile(t, g.name+".md", render.Markdown(f, render.MarkdownLimit))
	}
}

// TestMarkdownHolds: within its length, the verdict whole, every step's target named
// where there is room, the diagram in Mermaid's grammar.
func TestMarkdownHolds(t *testing.T) {
	for _, g := range goldens() {
		_, f := g.saved(t)
		for _, limit := range []int{render.MarkdownLeast, 6000, render.MarkdownLimit} {
			text := render.Markdown(f, limit)
			if len(text) > limit {
				t.Errorf("%s: %d bytes, at most %d", g.name, len(text), limit)
			}
			if !strings.HasPrefix(text, "<!-- requorum:plan demo -->\n## ") || !strings.Contains(text, f.Digest) {
				t.Errorf("%s: begins %.100s", g.name, text)
			}
			if f.Plan.Refusal != nil && !strings.Contains(text, "Refused") {
				t.Errorf("%s: is not called refused", g.name)
			}
			for _, n := range f.Plan.Needs {
				if !strings.Contains(text, "--accept="+string(n.Consent)) {
					t.Errorf("%s: lacks %s", g.name, n.Consent)
				}
			}
			if strings.Count(text, "<details>") != strings.Count(text, "</details>") || strings.Count(text, "\n```")%2 != 0 {
				t.Errorf("%s: something is cut in the middle", g.name)
			}
		}
		whole := render.Markdown(f, render.MarkdownLimit)
		for _, s := range f.Plan.Steps {
			if !strings.Contains(whole, s.Title) || !strings.Contains(whole, s.Wait) {
				t.Errorf("%s lacks step %d", g.name, s.ID)
			}
		}
		if len(f.Plan.Steps) > 0 {
			mermaid(t, g.name, whole)
		}
	}
}

// The grammar of timelines, as mermaid's timeline.jison (11.x) has it: a line is a
// title, or a period without "#" or ":" and after it events, each begun by ": ".
var (
	periodLine = regexp.MustCompile(`^ {4}[^#:\n]+( : [^:\n]+)+$`)
	keyword    = regexp.MustCompile(`^\s*(section|accTitle|accDescr)\b`)
)

func mermaid(t *testing.T, name, text string) {
	t.Helper()
	_, diagram, ok := strings.Cut(text, "```mermaid\n")
	diagram, _, closed := strings.Cut(diagram, "\n```")
	lines := strings.Split(diagram, "\n")
	if !ok || !closed || len(lines) < 4 || lines[0] != "timeline" || !strings.HasPrefix(lines[1], "    title ") {
		t.Fatalf("%s has no timeline:\n%s", name, diagram)
	}
	for _, l := range lines[2:] {
		if !periodLine.MatchString(l) || keyword.MatchString(l) || strings.Contains(l, ";") {
			t.Errorf("%s: not in Mermaid's grammar: %q", name, l)
		}
	}
}

// TestMarkdownOfHostileNames: what members and keys are called is text, never markup.
func TestMarkdownOfHostileNames(t *testing.T) {
	for _, evil := range []string{"a|b", "<script>x</script>", "`x`", "[x](http://evil)", "@everyone", "x --> y", "#12", "``` y", "a: b; %%{init}%%", "x\ny", "![i](u)", "</details>", "-->"} {
		p := &planner.Plan{
			Format: planner.FormatVersion, Cluster: evil, Headline: evil, Route: planner.RouteReconfigure,
			Members: []planner.MemberLine{{Name: evil, Seen: evil}},
			Steps: []planner.Step{{ID: 1, Title: "promote", Kind: "promote", Action: planner.Promote{Name: evil}, Target: []string{evil},
				Reason: planner.Reason{Fact: evil}, Wait: "w", Equivalent: []string{evil}}},
			Notices: []planner.Notice{{Code: "x", Text: evil}},
			Needs:   []planner.Need{{Consent: planner.Consent("host-destroyed:" + evil), Why: evil}},
			Refusal: &planner.Refusal{Code: "x", Title: evil, Detail: evil, Remedy: []string{evil}},
		}
		f := &saved.File{Plan: p, Digest: "d"}
		text := render.Markdown(f, render.MarkdownLimit)
		mermaid(t, evil, text)
		marker, rest, _ := strings.Cut(text, "\n")
		if strings.Count(marker, "-->") != 1 || !strings.HasSuffix(marker, "-->") {
			t.Errorf("%q: marker %s", evil, marker)
		}
		// Fenced text is shown as it is; the rest may have none of these.
		prose := regexp.MustCompile("(?s)\n(`{3,})(?:sh|mermaid|diff)\n.*?\n`{3,}\n").ReplaceAllString(rest, "\n")
		prose = regexp.MustCompile(`\\.`).ReplaceAllString(prose, "") // escaped
		for _, bad := range []string{"<script", "@everyone", "](http", "![", "[x]", "#12", "-->"} {
			if strings.Contains(prose, bad) {
				t.Errorf("%q: the text has %q:\n%s", evil, bad, prose)
			}
		}
		if strings.Contains(rest, "</details>\n") && strings.Count(prose, "<details>") != strings.Count(prose, "</details>") {
			t.Errorf("%q closes what it did not open", evil)
		}
		b, err := page.HTML(f)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(elements(t, b, "script")); n > 0 {
			t.Errorf("%q: %d scripts", evil, n)
		}
	}
}

// TestMarkdownOfManyMembers: the longest plan there is fits into a comment.
func TestMarkdownOfManyMembers(t *testing.T) {
	in := planner.InputOf(false, "serving", "serving", "serving")
	p := planner.New(in)
	for i := range 2000 {
		p.Steps = append(p.Steps, planner.Step{ID: i + 1, Kind: "promote", Action: planner.Promote{Name: "m"}, Title: "promote", Target: []string{fmt.Sprint("member-", i)}, Wait: strings.Repeat("w", 100)})
	}
	f := &saved.File{Plan: p, Digest: "aaaa-bbbb"}
	text := render.Markdown(f, render.MarkdownLimit)
	if len(text) > render.MarkdownLimit || !strings.Contains(text, "*Cut:") || !strings.Contains(text, "aaaa-bbbb") || strings.Count(text, "\n| ") < 100 {
		t.Errorf("%d bytes, %d rows", len(text), strings.Count(text, "\n| "))
	}
	p.Headline, p.Loss.Text = strings.Repeat("é`", 20000), strings.Repeat("x|", 20000)
	if text := render.Markdown(f, render.MarkdownLeast); len(text) > render.MarkdownLeast || !strings.Contains(text, "aaaa-bbbb") {
		t.Errorf("a long verdict: %d bytes", len(text))
	}
}

func elements(t *testing.T, b []byte, name string) []*html.Node {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var out []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			out = append(out, n)
		}
	}
	return out
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// TestPages: a page has a row for each member, a column and a part to open for each
// step, and asks nobody for anything.
func TestPages(t *testing.T) {
	for _, g := range goldens() {
		_, f := g.saved(t)
		b, err := page.HTML(f)
		if err != nil {
			t.Fatal(err)
		}
		p := f.Plan
		for _, tag := range []string{"script", "link", "img", "iframe", "object", "form", "base"} {
			if n := len(elements(t, b, tag)); n > 0 {
				t.Errorf("%s: %d of <%s>", g.name, n, tag)
			}
		}
		if bytes.Contains(b, []byte("url(")) || bytes.Contains(b, []byte("@import")) || bytes.Contains(b, []byte("ZgotmplZ")) {
			t.Errorf("%s: the style asks for something, or a value is not safe where it stands", g.name)
		}
		ids := map[string]bool{}
		for _, tag := range []string{"h2", "details"} {
			for _, n := range elements(t, b, tag) {
				if id := attribute(n, "id"); id == "" || ids[id] {
					t.Errorf("%s: <%s> with the id %q", g.name, tag, id)
				} else {
					ids[id] = true
				}
			}
		}
		for _, n := range elements(t, b, "a") {
			if to := attribute(n, "href"); !strings.HasPrefix(to, "#") || !ids[to[1:]] {
				t.Errorf("%s: a link to %q", g.name, to)
			}
		}
		details := elements(t, b, "details")
		if len(details) != len(p.Steps) {
			t.Errorf("%s: %d parts for %d steps", g.name, len(details), len(p.Steps))
			continue
		}
		for i, s := range p.Steps {
			text := textOf(details[i])
			for _, want := range append([]string{s.Title, s.Reason.Fact, s.Wait, render.Quorum(s.After)}, s.Equivalent...) {
				if !strings.Contains(text, strings.Join(strings.Fields(want), " ")) {
					t.Errorf("%s: step %d lacks %q", g.name, s.ID, want)
				}
			}
		}
		all := textOf(elements(t, b, "body")[0])
		for _, m := range p.Members {
			if !strings.Contains(all, m.Name) {
				t.Errorf("%s lacks %s", g.name, m.Name)
			}
		}
		if p.Refusal != nil && !strings.Contains(all, "Refused") {
			t.Errorf("%s does not say that it is refused", g.name)
		}
		timelines(t, g.name, b, p)
	}
}

// timelines: what runs where is in words, not by colour alone.
func timelines(t *testing.T, name string, b []byte, p *planner.Plan) {
	for _, table := range elements(t, b, "table") {
		if attribute(table, "class") != "timeline" {
			continue
		}
		does := 0
		for n := range table.Descendants() {
			if n.Type == html.ElementNode && n.Data == "td" && attribute(n, "class") == "does" {
				does++
				if textOf(n) == "" {
					t.Errorf("%s: a cell has no words", name)
				}
			}
			if n.Type == html.ElementNode && n.Data == "th" && attribute(n, "scope") == "" {
				t.Errorf("%s: a heading without a scope", name)
			}
		}
		want := 0
		for _, s := range p.Steps {
			want += len(s.Target)
		}
		if does != want {
			t.Errorf("%s: %d cells do something, want %d", name, does, want)
		}
	}
}

// TestPageContrast: every text can be read, in light and dark (WCAG 2, AA: 4.5).
func TestPageContrast(t *testing.T) {
	b, err := page.HTML(&saved.File{Plan: &planner.Plan{}})
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`:root\{([^}]*)\}`).FindAllSubmatch(b, -1)
	if len(roots) != 2 {
		t.Fatalf("%d sets of colours", len(roots))
	}
	for _, r := range roots {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--(\w+):#([0-9a-f]{3,6})`).FindAllSubmatch(r[1], -1) {
			colour[string(m[1])] = luminance(t, string(m[2]))
		}
		for _, on := range []string{"back", "box"} {
			for _, ink := range []string{"text", "soft", "good", "warn", "bad"} {
				contrast(t, colour, ink, on, 4.5)
			}
		}
		contrast(t, colour, "text", "mark", 4.5)
		contrast(t, colour, "markline", "back", 3)
	}
}

func contrast(t *testing.T, colour map[string]float64, ink, on string, least float64) {
	t.Helper()
	a, okA := colour[ink]
	b, okB := colour[on]
	if c := (max(a, b) + 0.05) / (min(a, b) + 0.05); !okA || !okB || c < least {
		t.Errorf("%s on %s: contrast %.2f, want %.1f", ink, on, c, least)
	}
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(v uint64) float64 {
		c := float64(v&255) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}

// TestSavedInputsAreWhole: no field of what a plan follows from is lost in its file.
func TestSavedInputsAreWhole(t *testing.T) {
	for _, g := range goldens() {
		if g.stop {
			continue
		}
		_, f := g.saved(t)
		in := g.input()
		if !reflect.DeepEqual(f.Inputs.Configuration, in.Cluster) {
			t.Errorf("%s: the configuration is read back as\n%+v, was\n%+v", g.name, f.Inputs.Configuration, in.Cluster)
		}
		a, errA := json.Marshal(f.Inputs.Observation)
		b, errB := json.Marshal(in.Observation)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: the observation is read back as\n%s, was\n%s", g.name, a, b)
		}
	}
}

// TestFormsSayTheSame: what the text tells of a plan, Markdown and the page do too.
func TestFormsSayTheSame(t *testing.T) {
	plain := func(s string) string {
		s = strings.NewReplacer("\\", "", "\u2060", "", "&lt;", "<", "&gt;", ">", "&amp;", "&", "\u00a0", " ").Replace(s)
		return strings.Join(strings.Fields(s), " ")
	}
	told := 0
	for _, g := range goldens() {
		_, f := g.saved(t)
		if p := *f.Plan; len(p.Steps) > 0 { // no golden plan has units
			p.Steps = slices.Clone(p.Steps)
			p.Steps[0].Files = []planner.FileDiff{{Member: "m1", Path: "/etc/systemd/system/etcd.service.d/zz.conf", New: true, Lines: []string{"+ExecStart=/usr/bin/marked"}}}
			f.Plan = &p
		}
		p := f.Plan
		b, err := page.HTML(f)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, s := range p.States {
			want = append(want, string(s.State), s.Fact)
		}
		for _, s := range p.Survivors {
			want = append(want, s.Name, s.Last, s.Proven, s.Verdict)
		}
		for _, r := range p.Passed {
			if len(p.Steps) > 0 {
				want = append(want, r.Why)
			}
		}
		for _, d := range p.Doubts {
			want = append(want, d.Fact, d.Settle)
		}
		if p.Snapshot != nil && p.Route == planner.RouteRestore {
			want = append(want, p.Snapshot.Source, "proven")
		}
		if p.Origin != nil {
			want = append(want, p.Origin.Source, p.Origin.When)
		}
		for _, s := range p.Steps {
			for _, d := range s.Files {
				want = append(want, append([]string{d.Path}, d.Lines...)...)
			}
		}
		if p.Loss.Kind == planner.LossUnknown && p.Changes() && p.Refusal == nil {
			want = append(want, "Data may be lost")
		}
		for form, text := range map[string]string{"markdown": plain(render.Markdown(f, render.MarkdownLimit)), "html": textOf(elements(t, b, "body")[0])} {
			for _, w := range want {
				if told++; !strings.Contains(plain(text), plain(w)) {
					t.Errorf("%s: %s lacks %q", g.name, form, w)
				}
			}
		}
	}
	if told < 100 {
		t.Errorf("only %d things are told", told)
	}
}
