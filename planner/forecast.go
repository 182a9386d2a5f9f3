package planner

import (
	"fmt"
	"slices"
	"strings"
)

// forecast is an observation while the effects of an action are worked out. Its
// members are copies, in the order of their names; what they point to, and every
// slice in them, is still the observation's and is replaced, never written to.
type forecast struct {
	obs    Observation
	names  []string
	ms     []MemberObservation
	fresh  []bool // started by this action
	others bool   // obs.Others is a copy already

	// What was so before the action.
	cid     string         // of the cluster that has proved a quorum; "" for none
	list    []ListedMember // its member list
	leader  string         // the ID of who leads it
	version string         // the cluster's, as its members agree on it; "" where it was not told
	hidden  int            // voters that must be following, and can't be seen
	frozen  map[string]bool
	told    string // the version that the cluster was told to go back to; "" for none
}

func newForecast(obs *Observation) *forecast {
	n := len(obs.Members)
	f := &forecast{obs: *obs, names: make([]string, 0, n), ms: make([]MemberObservation, n), fresh: make([]bool, n)}
	for name := range obs.Members {
		f.names = append(f.names, name)
	}
	slices.Sort(f.names)
	for i, name := range f.names {
		f.ms[i] = obs.Members[name]
	}
	f.look()
	return f
}

// observation is what has become of it.
func (f *forecast) observation() Observation {
	out := f.obs
	out.Members = make(map[string]MemberObservation, len(f.ms))
	for i, name := range f.names {
		out.Members[name] = f.ms[i]
	}
	return out
}

// at is the member of that name; nil where the observation has none.
func (f *forecast) at(name string) *MemberObservation {
	if i, ok := slices.BinarySearch(f.names, name); ok {
		return &f.ms[i]
	}
	return nil
}

// place is the member of that name, whose directory has to be known.
func (f *forecast) place(name string) (*MemberObservation, *DataDir, error) {
	o := f.at(name)
	if o == nil {
		return nil, nil, fmt.Errorf("%s was not looked at", name)
	}
	if !o.Data.Known() {
		return nil, nil, fmt.Errorf("what lies at %s's place is not known: %s", name, o.Data.Why)
	}
	return o, &o.Data.Value, nil
}

// other gives the members that the file does not have, to be written to.
func (f *forecast) ofOthers() []OtherMember {
	if !f.others {
		f.obs.Others, f.others = slices.Clone(f.obs.Others), true
	}
	return f.obs.Others
}

// runs reports whether a process of the member is up, or is about to be.
func (o *MemberObservation) runs() bool {
	if o.Service.Known() {
		switch s := &o.Service.Value; s.State {
		case ServiceRunning:
			return true
		case ServiceBackoff:
			return s.Restarts == 0
		}
	}
	return o.Data.Known() && o.Data.Value.HeldBy != 0 || o.Client.Reach == ReachServing || o.Peer.Reach == ReachServing
}

// tries reports whether somebody starts the member's process, in vain so far.
func (o *MemberObservation) tries() bool {
	return o.Service.Known() && o.Service.Value.State == ServiceBackoff
}

// young reports whether the member's process has only just been started.
func (o *MemberObservation) young() bool {
	if !o.Service.Known() {
		return false
	}
	s := &o.Service.Value
	return s.State == ServiceBackoff && s.Restarts == 0 || s.State == ServiceRunning && s.UpSeconds <= startSeconds
}

// holds is whose data is in its place, or, where none is, behind the fence there.
func (d *DataDir) holds() Identity {
	if d.State == DirFenced && d.Fenced != nil {
		return Identity{ClusterID: d.Fenced.ClusterID, MemberID: d.Fenced.MemberID}
	}
	return Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
}

// vacant reports whether a new identity may come to a place: nothing is there, or a
// fence with the old data behind it.
func (d *DataDir) vacant() bool {
	return d.State == DirFenced || (d.State == DirAbsent || d.State == DirEmpty) && d.ClusterID == ""
}

// settleProvenance works out what follows from the record and the identity.
func (d *DataDir) settleProvenance() {
	p := d.Provenance
	d.ProvenanceAgrees = p != nil && d.ClusterID == p.ClusterID && d.MemberID == p.MemberID
}

// argValue is the value of a flag in a command line; "" where it has none.
func argValue(args []string, flag string) string {
	for _, a := range args {
		if len(a) > len(flag)+3 && a[:2] == "--" && a[2:2+len(flag)] == flag && a[2+len(flag)] == '=' {
			return a[3+len(flag):]
		}
	}
	return ""
}

// flag is the value of a flag of the member's process.
func (o *MemberObservation) flag(name string) string {
	if !o.Service.Known() {
		return ""
	}
	if f := o.Service.Value.Foreign; f != nil {
		return f.Settings[name]
	}
	return argValue(o.Service.Value.Args, name)
}

// pidOf makes up the process ID of a member that is started.
func pidOf(dataDir string) int { return 1<<22 + int(sumOf(dataDir)%(1<<22)) }

// sumOf tells strings apart (FNV-1a).
func sumOf(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// forget takes a process that has ended out of those that run on the machine.
func (f *forecast) forget(host string, pid int) {
	ended := func(e Foreign) bool { return e.PID == pid && e.Host == host }
	if pid != 0 && slices.ContainsFunc(f.obs.Etcds, ended) {
		f.obs.Etcds = slices.DeleteFunc(slices.Clone(f.obs.Etcds), ended)
	}
}

// unhash takes a member whose data is replaced out of the comparison of key spaces.
func (f *forecast) unhash(name string) {
	kv := &f.obs.KV
	if _, ok := kv.Value.Hashes[name]; !ok || !kv.Known() || kv.Value.Equal {
		return
	}
	left, equal, first := make(map[string]uint32, len(kv.Value.Hashes)), true, uint32(0)
	for n, h := range kv.Value.Hashes {
		if n == name {
			continue
		}
		if len(left) == 0 {
			first = h
		}
		left[n] = h
		equal = equal && h == first
	}
	*kv = Known(KVComparison{Revision: kv.Value.Revision, Equal: equal, Hashes: left})
}

// initialList is the member list that --initial-cluster leads to, with the IDs that
// a token gives.
func initialList(initialCluster, token string) []ListedMember {
	var out []ListedMember
	for _, pair := range strings.Split(initialCluster, ",") {
		name, url, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		i := slices.IndexFunc(out, func(l ListedMember) bool { return l.Name == name })
		if i < 0 {
			out, i = append(out, ListedMember{Name: name}), len(out)
		}
		out[i].PeerURLs = append(out[i].PeerURLs, url)
	}
	for i := range out {
		out[i].ID = MemberID(out[i].PeerURLs, token)
	}
	return out
}

// logOf is the log of a directory that begins with n entries of term 1: the same
// in all members of one identity, and in no other.
func logOf(clusterID string, n int) *Log {
	l := &Log{First: 1, Terms: []TermRun{{Term: 1, First: 1}}, SumsFirst: 1, Sums: make([]uint32, n)}
	for i := range l.Sums {
		l.Sums[i] = sumOf(clusterID) + uint32(i)
	}
	return l
}

// freeze notes who was apart from the others before: nothing that is done here
// brings it back to them.
func (f *forecast) freeze(id string) {
	if f.frozen == nil {
		f.frozen = map[string]bool{}
	}
	f.frozen[id] = true
}
