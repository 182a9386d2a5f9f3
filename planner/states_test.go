package planner

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// state is one of the states that a cluster can be in, by the number that
// docs/states.md has for it: what is seen of it, and what the plan has to be.
type state struct {
	number  int
	name    string
	in      func() Input
	route   Route
	steps   string
	refused Code
	finds   string // "code member", by number
}

func lastWords(words string) func(*MemberObservation) {
	return func(o *MemberObservation) {
		o.Service = Known(Service{State: ServiceFailed, LastError: words, Log: "/data/m3.requorum/log"})
	}
}

func problem(words string) func(*Input) {
	return func(in *Input) { data(in, "m3", func(d *DataDir) { d.Problem = words }) }
}

func seen(n int, ks []kind, change func(*Input)) func() Input {
	return func() Input {
		in := input(members(n), ks...)
		if change != nil {
			change(&in)
		}
		return in
	}
}

// relist changes the cluster's own list as those who serve, and all disks, have it.
func relist(in *Input, change func([]ListedMember) []ListedMember) {
	for _, m := range in.Cluster.Members {
		edit(in, m.Name, func(o *MemberObservation) {
			if o.Client.Members.Known() {
				o.Client.Members = Known(change(slices.Clone(o.Client.Members.Value)))
			}
			if len(o.Data.Value.Members) > 0 {
				o.Data.Value.Members = change(slices.Clone(o.Data.Value.Members))
			}
		})
	}
}

func unequal(in *Input) {
	in.Observation.KV = Known(KVComparison{Revision: 7, Hashes: map[string]uint32{"m1": 1, "m2": 1, "m3": 2}})
}

// signOf puts a line into a member's log.
func signOf(name, kind, text string) func(*Input) {
	return func(in *Input) {
		edit(in, name, func(o *MemberObservation) { o.Service.Value.Signs = []LogSign{{Kind: kind, Text: text}} })
	}
}

// alarmsOf has every member report an alarm of the named one.
func alarmsOf(kind, name string) func(*Input) {
	return func(in *Input) {
		m, _ := in.Cluster.Member(name)
		for _, x := range in.Cluster.Members {
			edit(in, x.Name, func(o *MemberObservation) {
				if o.Client.Reach == ReachServing {
					o.Client.Alarms = []string{kind + " on " + MemberID(m.PeerURLs, oldToken)}
				}
			})
		}
	}
}

func metrics(in *Input, name string, x Metrics) {
	edit(in, name, func(o *MemberObservation) { o.Client.Metrics = Known(x) })
}

// mixed has m2 run an older minor than the others.
func mixed(in *Input) {
	edit(in, "m2", func(o *MemberObservation) { o.Client.Version = "3.6.16" })
}

// told has the cluster on its way back to a version, as those tell who can.
func told(in *Input, version string) {
	for _, m := range in.Cluster.Members {
		edit(in, m.Name, func(o *MemberObservation) {
			o.Client.ClusterVersion = version
			if minor(o.Client.Version) >= 6 {
				o.Client.Downgrade, o.Client.StorageVersion = version, version
			}
		})
	}
}

func found(p *Plan) string {
	var out []string
	for _, f := range p.States {
		out = append(out, strings.TrimSuffix(string(f.State)+" "+f.Member, " "))
	}
	return strings.Join(out, ", ")
}

func TestStates(t *testing.T) {
	for _, s := range states() {
		t.Run(fmt.Sprintf("%d %s", s.number, s.name), func(t *testing.T) {
			p := New(s.in())
			code := Code("")
			if p.Refusal != nil {
				code = p.Refusal.Code
			}
			if code != s.refused || code == "" && (p.Route != s.route || stepKinds(p) != s.steps) {
				t.Errorf("got %q %q %q, want %q %q %q\n%s", p.Route, stepKinds(p), code, s.route, s.steps, s.refused, p.Headline)
			}
			if got := found(p); got != s.finds {
				t.Errorf("found %q, want %q", got, s.finds)
			}
			for _, f := range p.States {
				if f.Fact == "" || strings.Contains(f.Fact, "%!") {
					t.Errorf("%s of %s: no fact, or a broken one: %q", f.State, f.Member, f.Fact)
				}
			}
		})
	}
}

// TestEveryStateIsAnswered: each has a case that finds it, or one that it can't be
// told from, and ends in a plan, or in a refusal that no other state ends in.
func TestEveryStateIsAnswered(t *testing.T) {
	planned, owner := map[int]bool{}, map[Code]int{}
	cases := map[int]bool{}
	for _, s := range states() {
		planned[s.number] = planned[s.number] || s.refused == ""
		cases[s.number] = true
	}
	for _, s := range states() {
		if s.refused == "" {
			continue
		}
		own := s.refused
		if strings.HasPrefix(string(own), "snapshot-") {
			own = "snapshot-" // one family
		}
		if o, there := owner[own]; there && o != s.number && !(planned[o] && planned[s.number]) {
			t.Errorf("%s refuses both %d and %d", own, o, s.number)
		}
		if o, there := owner[own]; !there || planned[o] {
			owner[own] = s.number
		}
	}
	n := 0
	for _, s := range States() {
		if !cases[s.Number] {
			t.Errorf("%d %s has no case", s.Number, s.Code)
		}
		// 39 is harmless, and 46 may be: nothing shows them there.
		if planned[s.Number] && !slices.Contains(onlyHarmless, s.Number) {
			n++
		}
		if !slices.ContainsFunc(states(), func(c state) bool { return c.number == s.Number && finds(c, s) }) {
			t.Errorf("%d %s: no case finds it, nor what looks like it", s.Number, s.Code)
		}
	}
	if n < 35 {
		t.Errorf("%d states end in a plan, at least 35 have to", n)
	}
	t.Logf("%d of %d states end in a plan", n, len(States()))
}

// onlyHarmless are the states whose plan is none but "in sync" or a neighbour's:
// the cluster can bear them, and what may be refused is what would change it.
var onlyHarmless = []int{14, 46, 54, 55, 56}

// finds reports whether the case finds the state, or one that says that it may be
// that.
func finds(c state, s State) bool {
	return slices.ContainsFunc(New(c.in()).States, func(f Finding) bool { return f.State == s.Code || alike(f.State, s.Code) })
}

// TestStatesTable: numbers and codes are each of one state, and those that look the
// same say so of each other.
func TestStatesTable(t *testing.T) {
	numbers, codes := map[int]State{}, map[StateCode]bool{}
	for i, s := range States() {
		if s.Number != i+1 || codes[s.Code] || s.Title == "" {
			t.Errorf("%d %s: out of order, twice, or without a title", s.Number, s.Code)
		}
		numbers[s.Number], codes[s.Code] = s, true
	}
	for _, s := range States() {
		for _, n := range s.Alike {
			if !slices.Contains(numbers[n].Alike, s.Number) {
				t.Errorf("%d says that it looks like %d, and %d does not", s.Number, n, n)
			}
		}
	}
	if len(numbers) != 59 {
		t.Errorf("%d states", len(numbers))
	}
}

// TestNothingIsFoundInHealth: a cluster that is as its file says, or that is about to
// begin or to grow, is in none of the states.
func TestNothingIsFoundInHealth(t *testing.T) {
	for _, ks := range [][]kind{
		{serving}, {serving, serving}, {serving, serving, serving}, {byHand, serving, kept}, {serving, newcomer, newcomer}, {orphaned, serving, serving},
		{serving, serving, learner}, {fresh, fresh, fresh}, {begun, begun, begun}, {down, down, down}, {down}, {fenced, fenced, fenced},
		{serving, serving, begun}, {serving, serving, serving, serving, serving, newcomer, newcomer},
	} {
		in := input(members(len(ks)), ks...)
		for _, m := range in.Cluster.Members {
			metrics(&in, m.Name, Metrics{UpSeconds: 86400, LeaderChanges: 9, FsyncSeconds: 0.004, FailedTotal: 3})
		}
		in.Observation.KV = Known(KVComparison{Revision: 1204, Equal: true})
		p := New(in)
		if len(p.States) > 0 {
			t.Errorf("%v: found %s", ks, found(p))
		}
		if only := NewStop(in, nil); len(only.States) > 0 {
			t.Errorf("%v, to be stopped: found %s", ks, found(only))
		}
	}
}

// A member whose disk is full is not started with the others.
func TestDiskFullIsLeftAlone(t *testing.T) {
	in := input(threeMembers(), down, down, down)
	edit(&in, "m3", lastWords("no space left on device"))
	p := New(in)
	a, _ := actionOf[Start](p)
	v, _ := actionOf[Verify](p)
	if !slices.Equal(a.Targets(), []string{"m1", "m2"}) || !slices.Equal(v.Members, a.Targets()) || p.Steps[0].After.Healthy != 2 {
		t.Errorf("starts %v, verifies %v, %+v", a.Targets(), v.Members, p.Steps[0].After)
	}
}

// Without a quorum it is not known whose alarms those are.
func TestAlarmWithoutQuorum(t *testing.T) {
	in := input(threeMembers(), serving, missing, missing)
	edit(&in, "m1", func(o *MemberObservation) { o.Client.Alarms = []string{"NOSPACE on deadbeef"} })
	if got := found(New(in)); got != "quorum-lost-running m1" {
		t.Errorf("found %s", got)
	}
}

// Where nobody could log in, and a majority runs, nothing shows that the quorum is
// gone.
func TestAuthIsNoLostQuorum(t *testing.T) {
	in := input(threeMembers(), stuck, stuck, missing)
	for _, n := range []string{"m1", "m2"} {
		edit(&in, n, func(o *MemberObservation) { o.Client.Reach = ReachAuth })
	}
	if p := New(in); refusedWith(p) != CodeAuthRequired || found(p) != "minority-lost m3" {
		t.Errorf("%+v, found %s", p.Refusal, found(p))
	}
}

// Who can't be looked at may be alive, and have its data.
func TestUnseenIsNotLost(t *testing.T) {
	in := input(members(4), serving, serving, serving, down)
	elsewhere(&in, 3, silent)
	if got := found(New(in)); got != "minority-down m4" {
		t.Errorf("found %s", got)
	}
	in.Observation.Others[0].Client.Reach = ReachUnasked
	if got := found(New(in)); got != "" {
		t.Errorf("not asked, and found %s", got)
	}
	if got := found(New(input(members(5), down, down, unread, missing, missing))); got != "" {
		t.Errorf("a disk can't be read, and found %s", got)
	}
}

// TestStatesAreDocumented: docs/states.md has one row for each number, with the
// code, the routes and the refusals that the cases above prove.
func TestStatesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			n := strings.TrimSpace(cells[1])
			if rows[n] != "" && n != "#" && !strings.HasPrefix(n, "-") {
				t.Errorf("%s has two rows", n)
			}
			rows[n] = line
		}
	}
	for _, s := range States() {
		row := rows[fmt.Sprint(s.Number)]
		must := []string{"`" + string(s.Code) + "`", s.Title}
		for _, n := range s.Alike {
			must = append(must, fmt.Sprintf("like %d", n))
		}
		file := fmt.Sprintf("testdata/states/%02d-%s.txt", s.Number, s.Code)
		must = append(must, "../planner/"+file)
		for _, c := range states() {
			switch {
			case c.number != s.Number:
			case c.refused != "":
				must = append(must, "`"+string(c.refused)+"`")
			default:
				must = append(must, "**"+string(c.route)+"**")
			}
		}
		for _, word := range must {
			if !strings.Contains(row, word) {
				t.Errorf("%d %s: the row does not say %s: %s", s.Number, s.Code, word, row)
			}
		}
		if _, err := os.Stat("testdata/states"); err == nil {
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%d: %v", s.Number, err)
			}
		}
	}
}
