package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Bounds of what an audit lets pass.
const (
	// quotaShare is how much of its quota a database may fill, in percent.
	quotaShare = 80
	// fragmentedFrom is how large a database is before it matters that less than half
	// of it is in use.
	fragmentedFrom = 64 << 20
	// slowSync is how long, in seconds, 99 of 100 syncs of the log may take at most.
	slowSync = 1.0
)

// storage: how full and how fast what members write to is.
func (f *finder) storage() {
	f.seen(func(name string, m spec.Member, o planner.MemberObservation) {
		e := o.Client
		if e.Reach != planner.ReachServing {
			return
		}
		if e.Metrics.Known() {
			quota := e.Metrics.Value.QuotaBytes
			if quota > 0 && e.DBSize >= quota/100*quotaShare {
				f.add(QuotaNear, name, "%s of %s, %d %%%s", bytes(e.DBSize), bytes(quota), e.DBSize*100/quota, inUse(e))
			}
			if took := e.Metrics.Value.FsyncSeconds; took > slowSync {
				f.add(SlowDisk, name, "1 of 100 syncs of its log takes more than %.1f s", took/2)
			}
		}
		if e.DBInUse > 0 && e.DBSize >= fragmentedFrom && e.DBInUse < e.DBSize/2 {
			f.add(DBFragmented, name, "%s%s", bytes(e.DBSize), inUse(e))
		}
		if n := maxLearners(o.Service); n > 1 && f.in.Cluster.Etcd.Config["max-learners"] == "" {
			f.add(MaxLearners, name, "it runs with --max-learners=%d, which the file does not name", n)
		}
	})
}

func inUse(e planner.Endpoint) string {
	if e.DBInUse == 0 {
		return ""
	}
	return ", of which " + bytes(e.DBInUse) + " are in use"
}

func bytes(n int64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// maxLearners is what the process says of it; 0 for nothing.
func maxLearners(s planner.Fact[planner.Service]) int {
	value := ""
	for _, a := range s.Value.Args {
		if v, ok := strings.CutPrefix(a, "--max-learners="); ok {
			value = v
		}
	}
	if s.Value.Foreign != nil {
		value = s.Value.Foreign.Settings["max-learners"]
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0
	}
	return n
}

// places: what members share, so that one failure takes several of them.
func (f *finder) places() {
	voters, disks := map[string][]string{}, map[string][]string{}
	var hosts, systems []string
	all := 0
	f.seen(func(name string, m spec.Member, o planner.MemberObservation) {
		at := f.machine(m)
		if !m.Learner {
			all++
			if voters[at] = append(voters[at], name); len(voters[at]) == 1 {
				hosts = append(hosts, at)
			}
		}
		if o.FileSystem != "" {
			key := at + " " + o.FileSystem
			if disks[key] = append(disks[key], name); len(disks[key]) == 1 {
				systems = append(systems, key)
			}
		}
	})
	for _, at := range hosts {
		if here := voters[at]; len(here) > 1 && all-len(here) < (planner.Quorum{Voters: all}).Size() {
			f.add(SharedHost, "", "%s are on %s", strings.Join(here, ", "), orWord(at, "this machine"))
		}
	}
	var shared []string
	for _, key := range systems {
		if here := disks[key]; len(here) > 1 {
			shared = append(shared, strings.Join(here, ", "))
		}
	}
	if len(shared) > 0 {
		f.add(SharedDisk, "", "%s", strings.Join(shared, "; "))
	}
}

// machine tells the members' machines apart: two host blocks of one address are one.
func (f *finder) machine(m spec.Member) string {
	h, ok := f.in.Cluster.Host(m.Host)
	switch {
	case !ok || h.Access == spec.AccessLocal:
		return ""
	case h.Address != "":
		return h.Address
	}
	return h.Name
}

// shape: how many voters there are, and whether they hold the same.
func (f *finder) shape() {
	p := f.in.Plan
	if !p.Before.Has() {
		return
	}
	switch n := p.Before.Voters; {
	case n < 3:
		f.add(NoFaultTolerance, "", "%s", map[bool]string{true: "one voter", false: "two voters, of which both are needed"}[n == 1])
	case n%2 == 0:
		f.add(Code(planner.NoteEvenVoters), "", "%d voters tolerate no more failures than %d do", n, n-1)
	}
	all := !slices.ContainsFunc(f.in.Cluster.Members, func(m spec.Member) bool {
		return !m.Learner && f.in.Observation.Members[m.Name].Client.Reach != planner.ReachServing
	})
	if kv := f.in.Observation.KV; all && f.in.Cluster.Voters() > 1 && !kv.Known() {
		f.add(Code(planner.NoteNotCompared), "", "%s", orWord(kv.Why, "nobody asked"))
	}
}

// backups: whether there are any, how old the newest is, and whether one was tried out.
func (f *finder) backups() {
	b := f.in.Backups
	at := func(x *Finding) {
		if b.Pos != (spec.Position{}) {
			x.Pos = b.Pos
		}
	}
	passed := ""
	if b.Passed != "" {
		passed = " (" + b.Passed + ")"
	}
	switch {
	case b.Problem != "":
		at(f.add(BackupUnreadable, "", "%s", b.Problem))
		return
	case b.MaxAge == 0: // the file says that none are wanted
	case b.Place == "":
		at(f.add(BackupMissing, "", "the file names no place of backups"))
		return
	case b.Newest.Name == "":
		at(f.add(BackupMissing, "", "%s has no snapshot of this cluster%s", b.Place, passed))
		return
	case b.Newest.Seconds > b.MaxAge:
		at(f.add(BackupOld, "", "%s is of %s ago; it may be %s old%s", b.Newest.Name, span(b.Newest.Seconds), span(b.MaxAge), passed))
	}
	if b.MaxDrillAge == 0 || b.Place == "" || b.Newest.Name == "" {
		return
	}
	switch {
	case b.Drilled.Name == "":
		at(f.add(BackupNotDrilled, "", "this machine knows of no drill of a snapshot from %s", b.Place))
	case b.Drilled.Seconds > b.MaxDrillAge:
		at(f.add(BackupNotDrilled, "", "the last drill, of %s, was %s ago; it may be %s", b.Drilled.Name, span(b.Drilled.Seconds), span(b.MaxDrillAge)))
	}
}

// span is a time in its largest unit, rounded down.
func span(seconds int64) string {
	for _, u := range []struct {
		n    int64
		word string
	}{{24 * 3600, "day"}, {3600, "hour"}, {60, "minute"}} {
		if n := seconds / u.n; n >= 2 {
			return fmt.Sprintf("%d %ss", n, u.word)
		}
	}
	return fmt.Sprintf("%d seconds", seconds)
}
