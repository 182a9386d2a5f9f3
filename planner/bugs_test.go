package planner

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// TestBugBoundaries: for each bug the first version that has it, the last, and the
// ones on the other side, as etcd's own change logs have them.
func TestBugBoundaries(t *testing.T) {
	tests := map[Code]struct{ has, hasNot string }{
		"etcd-end-of-life":  {"3.4.0 3.4.45", "3.5.0 3.6.0 3.7.0"},
		"etcd-security":     {"3.4.0 3.4.43 3.5.0 3.5.32 3.6.0 3.6.13 3.7.0", "3.4.44 3.4.45 3.5.33 3.6.14 3.7.1 3.7.3"},
		"etcd-13908":        {"3.5.0 3.5.2", "3.4.45 3.5.3 3.6.0"},
		"etcd-14400":        {"3.4.0 3.4.20 3.5.0 3.5.4", "3.4.21 3.5.5 3.6.0"},
		"etcd-14648":        {"3.4.0 3.4.21 3.5.0 3.5.5", "3.4.22 3.5.6 3.6.0"},
		"etcd-14733":        {"3.5.0 3.5.5", "3.4.45 3.5.6 3.6.0"},
		"etcd-15096":        {"3.4.0 3.4.23 3.5.0 3.5.6", "3.4.24 3.5.7 3.6.0"},
		"etcd-17780":        {"3.4.0 3.4.31 3.5.0 3.5.13", "3.4.32 3.5.14 3.6.0"},
		"etcd-18799":        {"3.5.0 3.5.16", "3.4.45 3.5.17 3.6.0"},
		"etcd-19557":        {"3.5.1 3.5.19", "3.4.45 3.5.0 3.5.20 3.6.0"},
		"etcd-20793":        {"3.5.20 3.5.23", "3.4.45 3.5.19 3.5.24 3.6.0"},
		"etcd-20995":        {"3.4.0 3.4.45 3.5.0 3.5.25", "3.5.26 3.6.0"},
		"etcd-20387":        {"3.6.0 3.6.3", "3.5.35 3.6.4 3.7.0"},
		"etcd-20071":        {"3.4.0 3.4.45 3.5.0 3.5.21 3.6.0", "3.5.22 3.6.1 3.7.0"},
		"etcd-20896":        {"3.4.0 3.4.45 3.5.0 3.5.24 3.6.0 3.6.5", "3.5.25 3.6.6 3.7.0"},
		"etcd-20653":        {"3.4.0 3.4.37 3.5.0 3.5.22 3.6.0 3.6.4", "3.4.38 3.5.23 3.6.5 3.7.0"},
		"etcd-21378":        {"3.4.0 3.4.41 3.5.0 3.5.27 3.6.0 3.6.8", "3.4.42 3.5.28 3.6.9 3.7.0"},
		"etcd-18667":        {"3.4.0 3.4.45 3.5.0 3.5.35 3.6.0 3.6.16", "3.7.0"},
		"etcd-21694":        {"3.4.0 3.4.45 3.5.0 3.5.30 3.6.0 3.6.11", "3.5.31 3.6.12 3.7.0"},
		"etcd-22401":        {"3.6.0 3.6.14 3.7.0 3.7.1", "3.5.35 3.6.15 3.7.2"},
		"etcd-upgrade-path": {"3.5.0 3.5.31 3.6.0 3.6.10", "3.4.45 3.5.32 3.6.11 3.7.0"},
	}
	for _, bug := range Bugs() {
		tt, ok := tests[bug.Code]
		if !ok {
			t.Errorf("%s has no test", bug.Code)
			continue
		}
		for _, v := range strings.Fields(tt.has) {
			if !bug.Affects(v) {
				t.Errorf("%s: %s has it", bug.Code, v)
			}
		}
		for _, v := range append(strings.Fields(tt.hasNot), "3.7.3", "3.8.0", "4.0.0", "", "unknown") {
			if bug.Affects(v) {
				t.Errorf("%s: %q has it not", bug.Code, v)
			}
		}
		delete(tests, bug.Code)
	}
	for code := range tests {
		t.Errorf("%s is no bug", code)
	}
}

// of sets the version that every member of in runs, or would.
func of(in *Input, version string) {
	for name := range in.Observation.Members {
		edit(in, name, func(o *MemberObservation) {
			if o.Client.Reach == ReachServing {
				o.Client.Version = version
			}
			o.Binary = Known(Binary{Version: version})
		})
	}
}

// bugsOf are the codes of bugs that a plan warns of; each at most once.
func bugsOf(t *testing.T, p *Plan) string {
	t.Helper()
	var out []string
	for _, n := range p.Notices {
		if !strings.HasPrefix(string(n.Code), "etcd-") {
			continue
		}
		code := strings.TrimPrefix(string(n.Code), "etcd-")
		if slices.Contains(out, code) {
			t.Errorf("%s stands there twice", n.Code)
		}
		out = append(out, code)
	}
	return strings.Join(out, " ")
}

// TestBugNotices: which plans warn of what.
func TestBugNotices(t *testing.T) {
	one := &spec.Cluster{Name: "one", Members: threeMembers().Members[:1]}
	inPlace := threeMembers()
	inPlace.Recover = &spec.Recover{InPlace: true}
	tests := []struct {
		name    string
		in      Input
		version string
		edit    func(*Input)
		want    string
	}{
		{"in sync, today's", input(threeMembers(), serving, serving, serving), "3.7.3", nil, ""},
		{"in sync, today's 3.6", input(threeMembers(), serving, serving, serving), "3.6.16", nil, ""},
		{"in sync, today's 3.5", input(threeMembers(), serving, serving, serving), "3.5.35", nil, ""},
		{"in sync, the last 3.4", input(threeMembers(), serving, serving, serving), "3.4.45", nil, "end-of-life"},
		{"in sync, 3.5.2", input(threeMembers(), serving, serving, serving), "3.5.2", nil, "security 13908 14733 17780 18799 21378"},
		{"in sync, 3.5.32", input(threeMembers(), serving, serving, serving), "3.5.32", nil, "security"},
		{"one member, 3.5.4", input(one, serving), "3.5.4", nil, "security 14400 14733 17780 18799 21378"},
		{"auth, 3.4.21", input(threeMembers(), serving, serving, serving), "3.4.21", func(in *Input) { in.Cluster.Auth = &spec.Auth{Username: "root"} }, "end-of-life security 14648 17780 21378"},
		{"a start, 3.6.3", input(threeMembers(), serving, serving, down), "3.6.3", nil, "security 20387 20653 21378"},
		{"dies again and again, 3.6.3", input(threeMembers(), serving, serving, serving), "3.6.3", func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Service.Value.Restarts = 2 })
		}, "security 20387 20653 21378"},
		{"grow, 3.5.19", input(threeMembers(), serving, serving, newcomer), "3.5.19", nil, "security 19557 20653 21378 21694"},
		{"grow, 3.5.23", input(threeMembers(), serving, serving, newcomer), "3.5.23", nil, "security 20793 21378 21694"},
		{"grow, 3.6.14", input(threeMembers(), serving, serving, newcomer), "3.6.14", nil, "22401"},
		{"grow, 3.7.3", input(threeMembers(), serving, serving, newcomer), "3.7.3", nil, ""},
		{"a learner, 3.6.11", input(threeMembers(), serving, serving, learner), "3.6.11", nil, "security 21694 22401"},
		{"diverged, 3.6.16", input(threeMembers(), serving, serving, serving), "3.6.16", func(in *Input) {
			in.Observation.KV = Known(KVComparison{Revision: 5, Hashes: map[string]uint32{"m1": 1, "m2": 2, "m3": 1}})
		}, "18667"},
		{"3.6 on 3.5's data", input(threeMembers(), down, down, down), "3.6.16", func(in *Input) {
			for _, m := range in.Cluster.Members {
				data(in, m.Name, func(d *DataDir) { d.StorageVersion, d.ClusterVersion = "", "3.5.0" })
			}
		}, "19557 20793 20995 upgrade-path"},
		{"3.6 on 3.5's data, and the file wants 3.5", input(threeMembers(), down, down, down), "3.6.16", func(in *Input) {
			in.Cluster.Etcd.Version = "3.5"
			for _, m := range in.Cluster.Members {
				data(in, m.Name, func(d *DataDir) { d.StorageVersion, d.ClusterVersion = "", "3.5.0" })
			}
		}, ""},
		{"the file wants 3.6", input(threeMembers(), serving, serving, serving), "3.5.31", func(in *Input) { in.Cluster.Etcd.Version = "3.6" }, "security upgrade-path"},
		{"the file wants 3.6, from 3.5.32", input(threeMembers(), serving, serving, serving), "3.5.33", func(in *Input) { in.Cluster.Etcd.Version = "3.6" }, ""},
		{"in place, 3.6.5", input(inPlace, missing, missing, down), "3.6.5", nil, "security 20896 21378 21694 22401"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			of(&tt.in, tt.version)
			if strings.HasPrefix(tt.version, "3.6") || strings.HasPrefix(tt.version, "3.7") {
				for name := range tt.in.Observation.Members {
					data(&tt.in, name, func(d *DataDir) {
						if d.StorageVersion != "" {
							d.StorageVersion = tt.version[:3] + ".0"
						}
					})
				}
			} else {
				for name := range tt.in.Observation.Members {
					data(&tt.in, name, func(d *DataDir) { d.StorageVersion = "" })
				}
			}
			if tt.edit != nil {
				tt.edit(&tt.in)
			}
			p := New(tt.in)
			if got := bugsOf(t, p); got != tt.want {
				t.Errorf("%q, not %q (refusal %v, steps %s)", got, tt.want, p.Refusal, stepKinds(p))
			}
		})
	}
}

// TestBugNoticeNamesWhoHasIt: with mixed versions, those and only those.
func TestBugNoticeNamesWhoHasIt(t *testing.T) {
	in := input(threeMembers(), serving, serving, serving)
	of(&in, "3.5.35")
	for _, m := range []string{"m1", "m3"} {
		edit(&in, m, func(o *MemberObservation) { o.Client.Version = "3.5.9" })
	}
	for _, n := range New(in).Notices {
		if n.Code == "etcd-17780" {
			want := "etcd 3.5.9 on m1, m3: a crash during a compaction may take the revision back; fixed in 3.5.14. Upgrade"
			if !strings.HasPrefix(n.Text, want) || !strings.Contains(n.Text, "issues/17780") {
				t.Errorf("%s", n.Text)
			}
			return
		}
	}
	t.Error("no notice of etcd-17780")
}

// TestEveryBugIsDocumented: docs/bugs.md has one heading for each, with its
// versions and its source.
func TestEveryBugIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/bugs.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(page), "\n### ")[1:] {
		head, body, _ := strings.Cut(part, "\n")
		m := regexp.MustCompile("^`(etcd-[a-z0-9-]+)`$").FindStringSubmatch(head)
		if m == nil || sections[m[1]] != "" {
			t.Fatalf("docs/bugs.md: %q", head)
		}
		sections[m[1]] = body
	}
	for _, bug := range Bugs() {
		body := strings.Join(strings.Fields(sections[string(bug.Code)]), " ")
		for _, want := range append([]string{bug.Source}, affected(bug)...) {
			if !strings.Contains(body, want) {
				t.Errorf("docs/bugs.md: %s lacks %q", bug.Code, want)
			}
		}
		delete(sections, string(bug.Code))
		if len(bug.Matters) == 0 || bug.Title == "" || bug.Remedy == "" || strings.HasSuffix(bug.Title, ".") || strings.HasSuffix(bug.Remedy, ".") {
			t.Errorf("%s is half said: %+v", bug.Code, bug)
		}
	}
	for code := range sections {
		t.Errorf("docs/bugs.md has %s, which no plan shows", code)
	}
}

func affected(b Bug) []string {
	var out []string
	for _, r := range b.Affected {
		out = append(out, fmt.Sprint(r))
	}
	return out
}
