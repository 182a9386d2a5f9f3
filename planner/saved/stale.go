package saved

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// Moved is one thing that is another than when the plan was made.
type Moved struct {
	Text string
	// Harmless is true for what changes by itself in a cluster that lives, and that no
	// plan follows from alone.
	Harmless bool
}

// String gives the text, with "harmless" where it is that.
func (m Moved) String() string {
	if m.Harmless {
		return m.Text + ": harmless"
	}
	return m.Text
}

// A StaleError says that the plan does not fit any more, and what changed.
type StaleError struct {
	Moved []Moved
	Now   string // what planning again gives
	First string // the first step that differs; "" for none
}

// Error implements error.
func (e *StaleError) Error() string {
	var all []string
	for _, m := range e.Moved {
		all = append(all, m.String())
	}
	what := strings.Join(all, "; ")
	if what == "" {
		what = "nothing that was seen"
	}
	text := "this plan is stale. Since it was made changed: " + what + ". Planning again gives: " + e.Now
	if e.First == "" {
		return text + "; the steps are the same, but were approved for how it was"
	}
	return text + "; " + e.First
}

// Compare holds the plan against the one that its own inputs and what is seen now
// lead to. Where both do the same, and nothing changed but what does no harm, it gives
// that and no error; else a *StaleError, or a *ForeignError where another cluster is
// seen. A plan whose steps are the same is stale too where what they rest on is not:
// the start that gave a member its settings back would now take another one's away.
func (f *File) Compare(now planner.Observation, p *planner.Plan) ([]Moved, error) {
	if a, b := f.Plan.ClusterID, p.ClusterID; a != "" && b != "" && a != b {
		return nil, &ForeignError{fmt.Sprintf("it is for the cluster with ID %s, and the one that is here has %s", a, b)}
	}
	moved := f.moved(now)
	first := firstDifference(f.Plan, p)
	if first == "" && !slices.ContainsFunc(moved, func(m Moved) bool { return !m.Harmless }) {
		return moved, nil
	}
	headline := p.Headline
	if p.Refusal != nil {
		headline = "a refusal, " + string(p.Refusal.Code) + ": " + p.Refusal.Title
	}
	return moved, &StaleError{Moved: moved, Now: headline, First: first}
}

// moved compares what was seen with what is.
func (f *File) moved(now planner.Observation) []Moved {
	was := f.Inputs.Observation
	var out []Moved
	say := func(harmless bool, format string, args ...any) {
		out = append(out, Moved{fmt.Sprintf(format, args...), harmless})
	}
	lists(f, now, say)
	for _, m := range f.Inputs.Configuration.Members {
		memberMoved(m.Name, was.Members[m.Name], now.Members[m.Name], say)
	}
	a, b := leader(was), leader(now)
	switch {
	case a == b:
	case a == "":
		say(false, "there is a leader again (%s)", b)
	case b == "":
		say(false, "there is no leader any more")
	default:
		say(true, "the leader moved from %s to %s", a, b)
	}
	if x, y := revision(was), revision(now); x != y && x > 0 && y > 0 {
		say(y > x, "the revision went from %d to %d", x, y)
	}
	if x, y := was.KV, now.KV; x.Known() && y.Known() && x.Value.Equal != y.Value.Equal {
		say(false, "the members' data is %s", map[bool]string{true: "equal again", false: "not equal any more"}[y.Value.Equal])
	}
	snapshotMoved(was.Snapshot, now.Snapshot, say)
	if x, y := was.JournalClusterID, now.JournalClusterID; x != y && x != "" && y != "" {
		say(false, "the journal has another cluster ID for these directories (%s, was %s)", y, x)
	}
	if x, y := was.JournalMembers, now.JournalMembers; len(y) > 0 && !sameSet(x, y) {
		say(true, "the journal here has %s in the file that was applied last, not %s", strings.Join(y, ", "), orWord(strings.Join(x, ", "), "any"))
	}
	return out
}

type sayer func(harmless bool, format string, args ...any)

func snapshotMoved(was, is *planner.SnapshotObservation, say sayer) {
	switch {
	case was == nil || is == nil:
	case was.SHA256 != is.SHA256 && is.SHA256 != "":
		say(false, "the snapshot is another file (sha256 %.12s…, was %.12s…)", is.SHA256, was.SHA256)
	case was.Problem != is.Problem:
		say(false, "the snapshot: %s", orWord(is.Detail, "can be used again"))
	}
}

// lists compares the member lists of the clusters that proved a quorum.
func lists(f *File, now planner.Observation, say sayer) {
	was, is := list(f.Inputs.Observation), list(now)
	if was == nil || is == nil {
		if was != nil {
			say(false, "no member proves a quorum any more")
		} else if is != nil {
			say(false, "there is a quorum again")
		}
		return
	}
	byID := func(l []planner.ListedMember, id string) *planner.ListedMember {
		for i := range l {
			if l[i].ID == id {
				return &l[i]
			}
		}
		return nil
	}
	for _, l := range was {
		n := byID(is, l.ID)
		switch {
		case n == nil:
			say(false, "%s was removed by someone else", named(l))
		case !planner.SameURLs(l.PeerURLs, n.PeerURLs):
			say(false, "%s's peer URLs were changed to %s by someone else", named(l), strings.Join(n.PeerURLs, ","))
		case l.Learner && !n.Learner:
			say(false, "%s was promoted by someone else", named(l))
		case l.Name != n.Name:
			say(false, "%s was started by someone else", named(*n))
		case !slices.Equal(l.ClientURLs, n.ClientURLs):
			say(false, "%s's client URLs were changed to %s", named(l), strings.Join(n.ClientURLs, ","))
		}
	}
	for _, l := range is {
		if byID(was, l.ID) == nil {
			say(false, "%s was added by someone else", named(l))
		}
	}
}

func named(l planner.ListedMember) string {
	return orWord(l.Name, "the member "+l.ID)
}

func memberMoved(name string, was, is planner.MemberObservation, say sayer) {
	if a, b := was.Client.Reach, is.Client.Reach; a != b {
		if b == planner.ReachServing {
			say(false, "%s serves now", name)
		} else {
			say(false, "%s: %s (%s before)", name, b, a)
		}
	} else if a == planner.ReachServing {
		if was.Client.MemberID != is.Client.MemberID {
			say(false, "%s is another member (ID %s, was %s)", name, is.Client.MemberID, was.Client.MemberID)
		}
		if was.Client.Version != is.Client.Version {
			say(false, "%s runs etcd %s, not %s any more", name, is.Client.Version, was.Client.Version)
		}
		if !slices.Equal(was.Client.Alarms, is.Client.Alarms) {
			say(false, "%s's alarms: %s (%s before)", name, orWord(strings.Join(is.Client.Alarms, ", "), "none"), orWord(strings.Join(was.Client.Alarms, ", "), "none"))
		}
	}
	dataMoved(name, was.Data, is.Data, say)
	if a, b := was.Service, is.Service; a.Known() && b.Known() {
		x, y := a.Value, b.Value
		switch {
		case x.State != y.State:
			say(false, "%s's service: %s (%s before)", name, y.State, x.State)
		case x.PID != y.PID && y.PID != 0 && x.Foreign == nil:
			say(true, "%s was restarted", name)
		}
		if !sameSet(lasting(x.Args), lasting(y.Args)) {
			say(false, "%s runs with other flags", name)
		}
		foreignMoved(name, x.Foreign, y.Foreign, say)
		if u, v := x.Unit, y.Unit; (u == nil) != (v == nil) || u != nil && (u.Problem != v.Problem || u.Barred != v.Barred) {
			say(false, "%s's unit was changed", name)
		}
	}
	if a, b := was.Binary, is.Binary; a.Known() && b.Known() && a.Value.Version != b.Value.Version {
		say(false, "%s's etcd is %s, not %s any more", name, b.Value.Version, a.Value.Version)
	}
	if len(is.PortsTaken) > 0 && !slices.Equal(was.PortsTaken, is.PortsTaken) {
		say(false, "%s's address is taken by somebody else (%s)", name, strings.Join(is.PortsTaken, ", "))
	}
}

// lasting are the flags that mean something to a member that has data: those of its
// first start do not, and a later one has others.
func lasting(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(strings.TrimLeft(a, "-"), "initial-") })
}

// foreignMoved is about a process that somebody else started.
func foreignMoved(name string, was, is *planner.Foreign, say sayer) {
	switch {
	case was == nil && is == nil:
	case was == nil:
		say(false, "%s was started by somebody else", name)
	case is == nil:
		say(false, "%s is not somebody else's process any more", name)
	case !sameSet(lasting(was.Args), lasting(is.Args)) || !maps.Equal(was.Settings, is.Settings) || was.Exe != is.Exe:
		say(false, "%s runs with other flags", name)
	case was.Keeper != is.Keeper:
		say(false, "%s is kept by %s, not by %s", name, orWord(is.Keeper, "nobody"), orWord(was.Keeper, "nobody"))
	case was.PID != is.PID || was.Start != is.Start:
		say(true, "%s was restarted", name)
	}
}

func dataMoved(name string, was, is planner.Fact[planner.DataDir], say sayer) {
	if was.Known() != is.Known() {
		if is.Known() {
			say(false, "%s's directory can be read now", name)
		} else {
			say(false, "%s's directory can't be read any more (%s)", name, is.Why)
		}
		return
	}
	x, y := was.Value, is.Value
	switch {
	case x.State != y.State:
		say(false, "%s's directory: %s (%s before)", name, y.State, x.State)
	case x.ClusterID != y.ClusterID || x.MemberID != y.MemberID:
		say(false, "%s's directory is another member's", name)
	case x.Problem != y.Problem:
		say(false, "%s's directory: %s (%s before)", name, orWord(y.Problem, "intact"), orWord(x.Problem, "intact"))
	case (x.LastTerm != y.LastTerm || x.LastIndex != y.LastIndex) && y.HeldBy == 0:
		say(false, "%s's log ends at #%d, not at #%d", name, y.LastIndex, x.LastIndex)
	}
	if x.Staged != y.Staged {
		say(false, "%s's staged directory is another", name)
	}
}

// list is the member list of one that proved a quorum; nil where none did.
func list(o planner.Observation) []planner.ListedMember {
	for _, name := range names(o) {
		if e := o.Members[name].Client; e.Linearizable.Known() && e.Linearizable.Value && e.Members.Known() {
			return e.Members.Value
		}
	}
	return nil
}

// leader is the name of who leads; "" where nobody knows.
func leader(o planner.Observation) string {
	for _, name := range names(o) {
		e := o.Members[name].Client
		if !e.Linearizable.Known() || !e.Linearizable.Value || e.LeaderID == "" {
			continue
		}
		for _, l := range e.Members.Value {
			if l.ID == e.LeaderID {
				return named(l)
			}
		}
		return e.LeaderID
	}
	return ""
}

func revision(o planner.Observation) int64 {
	r := int64(0)
	for _, m := range o.Members {
		r = max(r, m.Client.Revision)
	}
	return r
}

func names(o planner.Observation) []string {
	var out []string
	for n := range o.Members {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
