package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// survivor is a disk that holds a log of the old cluster, as one to recover from.
type survivor struct {
	m    *member
	d    DataDir
	role string // "" for a voter; "learner", "removed member"
}

// survivors ranks the disks that can be recovered from, the one whose log goes
// furthest first (S7); learners and removed members too, for their disks count
// though they could not be started as they are (S10).
func (b *builder) survivors() []survivor {
	var out []survivor
	for _, m := range b.holders() {
		d := m.survivor()
		if d.Problem != "" {
			continue
		}
		s := survivor{m: m, d: d}
		switch e := b.entry(m); {
		case e == nil:
			s.role = "removed member"
		case e.Learner:
			s.role = "learner"
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(x, y survivor) int {
		switch {
		case newer(x.d, y.d):
			return -1
		case newer(y.d, x.d):
			return 1
		}
		return 0
	})
	return out
}

// parts says where two logs of what should be one history part: an entry that both
// hold as agreed on, or one from which --force-new-cluster went on alone. Logs of
// one history have some entry in common (raft's log matching: then all before it
// is the same); why says so where nothing shows them to be of one.
func parts(x, y DataDir) (where, why string) {
	if x.Log == nil || y.Log == nil {
		return "", "their logs were not compared"
	}
	shared, end := false, min(x.LastIndex, y.LastIndex)
	for i := max(x.Log.SumsFirst, y.Log.SumsFirst); i <= end; i++ {
		a, okA := x.Log.sum(i)
		c, okC := y.Log.sum(i)
		switch {
		case !okA || !okC:
		case a == c:
			shared = true
		case i <= min(x.agreed(), y.agreed()):
			return fmt.Sprintf("entry #%d, which both hold as agreed on", i), ""
		case i <= x.agreed() && x.Log.term(i) < y.Log.term(i), i <= y.agreed() && y.Log.term(i) < x.Log.term(i):
			// A leader of a later term has all that was agreed on before it.
			return fmt.Sprintf("entry #%d, which one holds as agreed on and the other has of a later term", i), ""
		case i == x.Log.Forced || i == y.Log.Forced:
			return fmt.Sprintf("entry #%d, where --force-new-cluster began a history of its own", i), ""
		}
	}
	if !shared {
		return "", "their logs have no entry in common"
	}
	return "", ""
}

func (l *Log) sum(index uint64) (uint32, bool) {
	if index < l.SumsFirst || index-l.SumsFirst >= uint64(len(l.Sums)) {
		return 0, false
	}
	return l.Sums[index-l.SumsFirst], true
}

// term is that of the entry at index, as far as the log tells; 0 for none.
func (l *Log) term(index uint64) uint64 {
	var term uint64
	for _, run := range l.Terms {
		if run.First <= index {
			term = run.Term
		}
	}
	return term
}

// agreed is the last entry that this disk alone proves to be agreed on.
func (d DataDir) agreed() uint64 { return max(d.Commit, d.ConsistentIndex) }

// Agreed is the last entry of the log that this disk alone proves to be agreed on;
// what follows it, to LastIndex, may never have been acknowledged.
func (d DataDir) Agreed() uint64 { return d.agreed() }

// InDoubt says what a log holds after that: "3 entries in doubt (2 put, 1 delete)",
// "" for nothing; risky reports whether any of it undoes something (S9).
func InDoubt(d DataDir) (text string, risky bool) {
	entries, n, unseen := tail(survivor{d: d}, min(d.agreed(), d.LastIndex))
	if n == 0 {
		return "", false
	}
	kinds := entryKinds(entries)
	if unseen {
		kinds = "not all of them known"
	}
	what := "entries"
	if n == 1 {
		what = "entry"
	}
	return fmt.Sprintf("%d %s in doubt (%s)", n, what, kinds), unseen || riskyText(entries) != ""
}

// choose takes the survivor to recover from: the first of the ranking, or the one
// that the file names.
func (b *builder) choose(ranked []survivor) (survivor, *Refusal) {
	if from := b.recoverFrom(); from != "" {
		for _, s := range ranked {
			if s.m.spec.Name == from {
				return s, nil
			}
		}
		where := "Name another survivor in recover { from = … }, or leave it out: the one with the most is taken then."
		if b.cluster.Snapshot.Survivor() == from {
			where = "Name another survivor in the snapshot's source, or leave that out: the one with the most is taken then."
		}
		return survivor{}, refusal(CodeSurvivorWrong, b.recoverFromPos(), from+" can't be recovered from",
			fmt.Sprintf("%s: %s.", from, b.whyNoSurvivor(from)), where)
	}
	best := ranked[0]
	for _, s := range ranked[1:] {
		where, why := parts(best.d, s.d)
		if where == "" && why == "" {
			continue
		}
		return survivor{}, b.refuseParted(best.m.spec.Name, best.d, s.m, where, why)
	}
	return best, nil
}

// refuseParted is for two disks that are not of one history: where they part, or why
// that can't be told.
func (b *builder) refuseParted(best string, d DataDir, m *member, where, why string) *Refusal {
	name := m.spec.Name
	detail := fmt.Sprintf("The logs of %s (%s) and %s (%s) are not of one history: they differ at %s.", best, m.logText(d), name, m.logText(m.survivor()), where)
	title := "the disks hold different histories of the cluster"
	if where == "" {
		title = "nothing shows the disks to be of one history of the cluster"
		detail = fmt.Sprintf("%s (%s) and %s (%s): %s, so that nothing shows them to be of one history.", best, m.logText(d), name, m.logText(m.survivor()), why)
	}
	return refusal(CodeSplitCluster, m.spec.Pos, title, detail,
		"Copy both disks. Only a person can say which side has the data that counts.",
		fmt.Sprintf("Then move the other side's directories away and plan again; or, where quorum is gone, name the survivor in the file: recover { from = %q }.", best))
}

// recoverFrom is the survivor that the file names: in recover { from }, or as the
// snapshot's source datadir://NAME, which is the same.
func (b *builder) recoverFrom() string {
	if r := b.cluster.Recover; r != nil && r.From != "" {
		return r.From
	}
	return b.cluster.Snapshot.Survivor()
}

func (b *builder) recoverFromPos() spec.Position {
	if r := b.cluster.Recover; r != nil && r.From != "" {
		return r.Pos
	}
	return b.cluster.Snapshot.SourcePos
}

func (b *builder) whyNoSurvivor(name string) string {
	for _, m := range b.members {
		if m.spec.Name == name {
			return m.dataText()
		}
	}
	return "it is not in the file"
}

// proven is the last entry that any disk of the chosen one's history, or a member
// that still runs, proves to be agreed on.
func (b *builder) proven(chosen survivor, ranked []survivor) uint64 {
	n := chosen.d.agreed()
	for _, s := range ranked {
		if where, why := parts(chosen.d, s.d); where == "" && why == "" {
			n = max(n, s.d.agreed())
			if e := s.m.seen.Client; e.Reach == ReachServing && e.MemberID == s.d.MemberID {
				n = max(n, e.Applied) // it has applied no more than was agreed on
			}
		}
	}
	return min(n, chosen.d.LastIndex)
}

// tail is what the chosen log holds after that: n entries, those that were looked
// at in entries, and whether the others may be anything.
func tail(chosen survivor, proven uint64) (entries []TailEntry, n uint64, unseen bool) {
	for _, e := range chosen.d.Tail {
		if e.Index > proven {
			entries = append(entries, e)
		}
	}
	n = chosen.d.LastIndex - proven
	return entries, n, n > uint64(len(entries))
}

// survivorLines is the plan's table of disks.
func (b *builder) survivorLines(chosen survivor, ranked []survivor) {
	line := func(m *member, d DataDir, verdict string) {
		b.plan.Survivors = append(b.plan.Survivors, SurvivorLine{
			Name: m.spec.Name, Last: fmt.Sprintf("term %d #%d", d.LastTerm, d.LastIndex),
			Proven: fmt.Sprintf("to #%d", d.agreed()), Verdict: verdict, Chosen: m == chosen.m,
		})
	}
	for _, s := range ranked {
		verdict := "intact, has less"
		switch {
		case s.m == chosen.m && b.recoverFrom() != "":
			verdict = "intact, chosen by the file"
		case s.m == chosen.m:
			verdict = "intact, chosen"
		case s.d.LastTerm == chosen.d.LastTerm && s.d.LastIndex == chosen.d.LastIndex:
			verdict = "intact, has the same"
		case newer(s.d, chosen.d):
			verdict = "intact, has more"
		}
		if s.role != "" {
			verdict += " (a " + s.role + ", used through a copy)"
		}
		line(s.m, s.d, verdict)
	}
	for _, m := range b.members {
		if !slices.ContainsFunc(ranked, func(s survivor) bool { return s.m == m }) {
			b.plan.Survivors = append(b.plan.Survivors, SurvivorLine{Name: m.spec.Name, Last: "-", Proven: "-", Verdict: m.dataText()})
		}
	}
}

// riskyText lists the entries that make keeping the tail, and dropping it, a
// decision.
func riskyText(entries []TailEntry) string {
	var out []string
	for _, e := range entries {
		if e.Risky {
			out = append(out, fmt.Sprintf("#%d %s", e.Index, orWord(e.Text, e.Kind+" "+e.Key)))
		}
	}
	return few(out)
}

// few is the first entries of a list, and how many more there are.
func few(list []string) string {
	const most = 4
	if len(list) <= most {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(list[:most], "; "), len(list)-most)
}
