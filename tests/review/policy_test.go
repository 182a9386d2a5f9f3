package review

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// judged is what conftest says of a file.
type judged struct{ denied, warned []string }

// conftest runs the pinned conftest on plans, under the policy of the example.
func conftest(t *testing.T, plans ...string) map[string]judged {
	t.Helper()
	return conftestIn(t, "main", plans...)
}

// conftestIn is conftest under the rules of a package.
func conftestIn(t *testing.T, namespace string, plans ...string) map[string]judged {
	t.Helper()
	path, err := Conftest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "--output", "json", "--namespace", namespace, "--policy", filepath.Join(harness.Root(), "examples", "policy")}
	cmd := exec.CommandContext(t.Context(), path, append(args, plans...)...)
	var said strings.Builder
	cmd.Stderr = &said
	b, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	type message struct{ Msg string }
	var results []struct {
		Filename           string
		Successes          int
		Failures, Warnings []message
		Exceptions         []message
	}
	if jerr := json.Unmarshal(b, &results); jerr != nil {
		t.Fatalf("conftest: %v, %v\n%s%s", err, jerr, b, said.String())
	}
	out, failed := map[string]judged{}, false
	for _, r := range results {
		j := out[r.Filename]
		for _, m := range r.Failures {
			j.denied, failed = append(j.denied, m.Msg), true
		}
		for _, m := range r.Warnings {
			j.warned = append(j.warned, m.Msg)
		}
		if r.Successes+len(r.Failures)+len(r.Warnings) == 0 || len(r.Exceptions) > 0 {
			t.Errorf("%s: no rule was tried, or one was left out: %+v", r.Filename, r)
		}
		out[r.Filename] = j
	}
	if len(out) != len(plans) || (err != nil) != failed {
		t.Fatalf("conftest judged %d of %d, and ended with %v\n%s", len(out), len(plans), err, said.String())
	}
	return out
}

// edited are ways to change a plan that may be applied, each into one that may not, and
// what is said of it.
var edited = map[string]struct {
	change func(p map[string]any)
	says   string
}{
	"replaced":              {actions("delete", "create"), "it is replaced"},
	"replaced, made first":  {actions("create", "delete"), "it is replaced"},
	"deleted":               {actions("delete"), "it goes away"},
	"deleted and updated":   {actions("update", "delete"), "it is replaced"},
	"forgotten":             {actions("forget"), "don't know"},
	"no actions":            {actions(), "don't know"},
	"actions are a word":    {func(p map[string]any) { of(p, "resource_changes", 1, "change")["actions"] = "create" }, "don't know"},
	"actions missing":       {func(p map[string]any) { delete(of(p, "resource_changes", 1, "change"), "actions") }, "don't know"},
	"change missing":        {func(p map[string]any) { delete(of(p, "resource_changes", 1), "change") }, "don't know"},
	"another type":          {func(p map[string]any) { of(p, "resource_changes", 1)["type"] = "etcd_disk" }, "don't know"},
	"address missing":       {func(p map[string]any) { p["resource_changes"] = []any{map[string]any{}} }, "not said: what becomes"},
	"no object":             {func(p map[string]any) { p["resource_changes"] = []any{"x"} }, "not said: what becomes"},
	"changes missing":       {func(p map[string]any) { delete(p, "resource_changes") }, "does not say what changes"},
	"changes null":          {func(p map[string]any) { p["resource_changes"] = nil }, "does not say what changes"},
	"changes empty":         {func(p map[string]any) { p["resource_changes"] = []any{} }, "does not say what changes"},
	"unknown risk":          {func(p map[string]any) { of(p, "steps", 0, "risk")["level"] = "catastrophic" }, "catastrophic"},
	"irreversible":          {func(p map[string]any) { of(p, "steps", 0, "risk")["level"] = "irreversible" }, "irreversible"},
	"risk empty":            {func(p map[string]any) { of(p, "steps", 0)["risk"] = map[string]any{} }, "step 1"},
	"risk null":             {func(p map[string]any) { of(p, "steps", 0)["risk"] = nil }, "step 1"},
	"risk missing":          {func(p map[string]any) { delete(of(p, "steps", 0), "risk") }, "step 1"},
	"step without a word":   {func(p map[string]any) { p["steps"] = []any{map[string]any{}} }, "step not said"},
	"step is no object":     {func(p map[string]any) { p["steps"] = []any{1} }, "step not said"},
	"unknown kind":          {func(p map[string]any) { of(p, "steps", 0)["kind"] = "format-disk" }, "format-disk"},
	"a step that removes":   {func(p map[string]any) { of(p, "steps", 0)["kind"] = planner.Remove{}.Kind() }, "remove-member"},
	"a step that recovers":  {func(p map[string]any) { of(p, "steps", 0)["kind"] = planner.Recover{}.Kind() }, "recover"},
	"a step that restores":  {func(p map[string]any) { of(p, "steps", 0)["kind"] = planner.Restore{}.Kind() }, "restore"},
	"a step that fences":    {func(p map[string]any) { of(p, "steps", 0)["kind"] = planner.Fence{}.Kind() }, "fence"},
	"a step that sets away": {func(p map[string]any) { of(p, "steps", 0)["kind"] = planner.SetAside{}.Kind() }, "set-aside"},
	"kind missing":          {func(p map[string]any) { delete(of(p, "steps", 0), "kind") }, "step 1"},
	"steps missing":         {func(p map[string]any) { delete(p, "steps") }, "which steps"},
	"steps an object":       {func(p map[string]any) { p["steps"] = map[string]any{} }, "which steps"},
	"plan's risk too much":  {func(p map[string]any) { of(p, "risk")["level"] = "downtime" }, "the plan's risk: downtime"},
	"plan's risk unknown":   {func(p map[string]any) { of(p, "risk")["level"] = "none at all" }, "none at all"},
	"plan's risk missing":   {func(p map[string]any) { delete(p, "risk") }, "the plan's risk: not said"},
	"loss":                  {func(p map[string]any) { of(p, "loss")["kind"] = string(planner.LossUnknown) }, "data may be lost"},
	"loss of another kind":  {func(p map[string]any) { of(p, "loss")["kind"] = "some" }, "data may be lost"},
	"loss empty":            {func(p map[string]any) { p["loss"] = map[string]any{} }, "data may be lost: not said"},
	"loss missing":          {func(p map[string]any) { delete(p, "loss") }, "data may be lost: not said"},
	"needs":                 {func(p map[string]any) { p["needs"] = []any{map[string]any{"consent": "downtime", "why": "it stops"}} }, "the consent downtime: it stops"},
	"needs, given":          {func(p map[string]any) { p["needs"] = []any{map[string]any{"consent": "downtime", "given": true}} }, "the consent downtime"},
	"needs without a word":  {func(p map[string]any) { p["needs"] = []any{map[string]any{}} }, "the consent not said"},
	"needs are a word":      {func(p map[string]any) { p["needs"] = "downtime" }, "needs can't be read"},
	"refused":               {func(p map[string]any) { p["refusal"] = map[string]any{"code": "split"} }, "no safe plan: split"},
	"refused, no code":      {func(p map[string]any) { p["refusal"] = map[string]any{} }, "no safe plan: not said"},
	"refused, a word":       {func(p map[string]any) { p["refusal"] = "split" }, "no safe plan"},
	"another route":         {func(p map[string]any) { p["route"] = "recover" }, "route recover"},
	"unknown route":         {func(p map[string]any) { p["route"] = "shortcut" }, "route shortcut"},
	"route missing":         {func(p map[string]any) { delete(p, "route") }, "route not said"},
	"of diff":               {func(p map[string]any) { p["basis"] = "diff" }, "looked at"},
	"basis missing":         {func(p map[string]any) { delete(p, "basis") }, "looked at"},
	"a later format":        {func(p map[string]any) { p["requorum_plan"] = "2.0" }, "no plan of requorum's"},
	"format missing":        {func(p map[string]any) { delete(p, "requorum_plan") }, "no plan of requorum's"},
	"format a number":       {func(p map[string]any) { p["requorum_plan"] = 1.1 }, "no plan of requorum's"},
	"nothing at all":        {func(p map[string]any) { clear(p) }, "no plan of requorum's"},
}

// of goes to an object within a plan.
func of(p map[string]any, path ...any) map[string]any {
	at := any(p)
	for _, step := range path {
		switch k := step.(type) {
		case string:
			at = at.(map[string]any)[k]
		case int:
			at = at.([]any)[k]
		}
	}
	return at.(map[string]any)
}

func actions(words ...any) func(map[string]any) {
	return func(p map[string]any) { of(p, "resource_changes", 1, "change")["actions"] = append([]any{}, words...) }
}

// TestPolicy: conftest reads plans, and takes and refuses them as the example says. What
// the example does not know it refuses.
func TestPolicy(t *testing.T) {
	t.Parallel()
	s := made(t)
	dir := t.TempDir()
	text, err := os.ReadFile(s.plans["grow"])
	if err != nil {
		t.Fatal(err)
	}
	files := []string{s.plans["grow"], s.plans["in-sync"], s.plans["shrink"], s.plans["refused"]}
	names := map[string]string{}
	write := func(name string, v any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		names[name] = filepath.Join(dir, fmt.Sprintf("%d.json", len(names)))
		if err := os.WriteFile(names[name], b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, names[name])
	}
	for name, e := range edited {
		var p map[string]any
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		e.change(p)
		write(name, p)
	}
	write("no object at all", []any{1, 2})
	got := conftest(t, files...)
	for name, want := range map[string]struct {
		passes bool
		says   string
	}{
		"grow":    {true, "after step 1 no further voter may fail"},
		"in-sync": {true, ""},
		"shrink":  {false, "etcd_member.m3: it goes away (delete_because_no_resource_config)"},
		"refused": {false, "there is no safe plan: snapshot-missing"},
	} {
		j := got[s.plans[name]]
		if said := strings.Join(append(j.denied, j.warned...), "\n"); (len(j.denied) == 0) != want.passes || !strings.Contains(said, want.says) {
			t.Errorf("%s: it should say %q:\n%+v", name, want.says, j)
		}
	}
	for name, e := range edited {
		if j := got[names[name]]; !strings.Contains(strings.Join(j.denied, "\n"), e.says) || len(j.denied) == 0 {
			t.Errorf("%s: it should be denied with %q:\n%q", name, e.says, j.denied)
		}
	}
	if j := got[names["no object at all"]]; len(j.denied) == 0 {
		t.Error("a list of numbers passes")
	}
}

// TestPolicyKnowsEveryKind: each kind of step that there is was thought of, and is either
// fine or for a person.
func TestPolicyKnowsEveryKind(t *testing.T) {
	t.Parallel()
	rego, err := os.ReadFile(filepath.Join(harness.Root(), "examples", "policy", "requorum.rego"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(rego), "fine_kinds := {")
	fine, _, _ := strings.Cut(rest, "}")
	person := " remove-member recover restore fence set-aside "
	for _, a := range planner.Actions() {
		if isFine := strings.Contains(fine, `"`+a.Kind()+`"`); isFine == strings.Contains(person, " "+a.Kind()+" ") {
			t.Errorf("%s: fine %t; say in examples/policy, or here, which it is", a.Kind(), isFine)
		}
	}
}
