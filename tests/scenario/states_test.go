package scenario

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// verified are the states (planner.States, by number) that are claimed to have been
// seen on real etcd. Each is brought about by one of the cases below and has to be
// named right there, or one that looks the same (planner.State.Alike).
var verified = []int{18, 20, 21, 23, 24, 25, 28, 29, 36, 37, 40, 41, 44, 45, 46, 48, 49, 50}

// stateCase brings states about on real etcd.
type stateCase struct {
	name    string
	numbers []int
	run     func(*sight)
}

var stateCases = slices.Concat(identityStates, storageStates, quorumStates)

func TestStates(t *testing.T) {
	t.Parallel()
	var claimed []int
	for _, k := range stateCases {
		claimed = append(claimed, k.numbers...)
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			x := &sight{T: t, e: harness.New(t), seen: map[int]bool{}}
			k.run(x)
			for _, n := range k.numbers {
				if !x.seen[n] && !t.Failed() {
					t.Errorf("state %d was not brought about", n)
				}
			}
		})
	}
	for _, n := range verified {
		if !slices.Contains(claimed, n) {
			t.Errorf("no case brings state %d about", n)
		}
	}
}

// sight is what a case looks at.
type sight struct {
	*testing.T
	e    *harness.Env
	seen map[int]bool
}

// shows plans for c and fails the test where the state is not among those found,
// with this member. Nothing else may be found but what further names: codes, with
// "@member" where they are a member's.
func (x *sight) shows(c *harness.Cluster, s planner.StateCode, member string, further ...string) harness.Plan {
	x.Helper()
	p := x.e.Plan(c.Path())
	x.planned(p, s, member, further...)
	x.audited(c, s, member, further...)
	return p
}

// standing is what is the matter with every cluster of these tests: it is on one machine,
// started by hand or under requorum's own supervisor, has few members and no backup.
var standing = []string{"shared-host", "shared-disk", "no-boot-start", "not-supervised", "no-fault-tolerance", "backup-missing"}

// audited wants the same of an audit: the state, what further names, and what stands.
func (x *sight) audited(c *harness.Cluster, s planner.StateCode, member string, further ...string) {
	x.Helper()
	var strange []string
	found := false
	for _, f := range x.e.Audit(c.Path()).Findings {
		code := planner.StateCode(f.Code)
		key := string(f.Code)
		if f.Member != "" {
			key += "@" + f.Member
		}
		switch {
		case (code == s || looksLike(code, s)) && f.Member == member:
			found = true
		case !slices.Contains(further, key) && !slices.Contains(standing, string(f.Code)):
			strange = append(strange, key+": "+f.Fact)
		}
	}
	if !found {
		x.Errorf("the audit does not find %s of %q", s, member)
	}
	if len(strange) > 0 {
		x.Errorf("the audit finds beside %s of %q: %s", s, member, strings.Join(strange, "; "))
	}
}

func (x *sight) planned(p harness.Plan, s planner.StateCode, member string, further ...string) {
	x.Helper()
	var all, strange []string
	found := false
	for _, f := range p.States {
		key := string(f.State)
		if f.Member != "" {
			key += "@" + f.Member
		}
		all = append(all, key+": "+f.Fact)
		switch {
		case (f.State == s || looksLike(f.State, s)) && f.Member == member:
			found = true
			if f.Fact == "" {
				x.Errorf("%s without a fact", s)
			}
		case !slices.Contains(further, key):
			strange = append(strange, key)
		}
	}
	text := fmt.Sprintf("route %q, refusal %q, steps %s, needs %s: %s\n%s", p.Route, p.Code(), p.Steplist(), p.Consents(), p.Headline, strings.Join(all, "\n"))
	if !found {
		x.Errorf("%s of %q is not found; %s", s, member, text)
		return
	}
	if len(strange) > 0 {
		x.Errorf("found too: %s; %s", strings.Join(strange, " "), text)
	}
	x.Logf("%s: %s", s, text)
	for _, known := range planner.States() {
		if known.Code == s {
			x.seen[known.Number] = true
		}
	}
}

// looksLike reports whether a state may be another one that looks the same.
func looksLike(found, other planner.StateCode) bool {
	numbers := map[planner.StateCode]int{}
	var alike []int
	for _, s := range planner.States() {
		numbers[s.Code] = s.Number
		if s.Code == found {
			alike = s.Alike
		}
	}
	return slices.Contains(alike, numbers[other])
}

// logged waits until a log has one of the words, which are etcd's.
func (x *sight) logged(log string, anyOf ...string) {
	x.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, _ := os.ReadFile(log)
		for _, w := range anyOf {
			if strings.Contains(string(b), w) {
				return
			}
		}
		if time.Now().After(end) {
			x.Fatalf("%s has none of %q:\n%s", log, anyOf, b[max(0, len(b)-2000):])
		}
	}
}

// byHand is a file of n members that run by hand, with keys.
func (x *sight) byHand(n int, flags ...string) (*harness.Cluster, harness.Hands) {
	x.Helper()
	c := x.e.Cluster(n).Write()
	hs := x.e.ByHand(c.Members, flags...)
	harness.Fill(x, hs.Endpoints(), 200)
	return c, hs
}
