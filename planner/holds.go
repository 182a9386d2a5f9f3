package planner

import (
	"fmt"
	"slices"
	"strings"
)

// Holds reports whether what a leads to is so already (its postcondition), and
// otherwise what is missing. What is not known does not hold.
//
// Some actions leave nothing that an observation shows (see Traceless): for them it
// says whether what they work on is there, and that is no proof that they were done.
func Holds(a Action, obs Observation) (ok bool, missing string) {
	h := held{&obs}
	switch a := a.(type) {
	case Claim:
		missing = h.claim(a)
	case Restore:
		missing = h.restore(a)
	case Trial:
		missing = h.trial(a)
	case Install:
		missing = h.install(a)
	case Start:
		missing = h.start(a)
	case Adopt:
		missing = h.adopt(a)
	case Verify:
		missing = h.verify(a)
	case Stop:
		missing = h.stop(a)
	case SetAside:
		missing = h.setAside(a)
	case Fence:
		missing = h.fence(a)
	case Unfence:
		missing = h.unfence(a)
	case Recover:
		missing = h.recover(a)
	case Save:
		missing = h.save(a)
	default:
		missing = h.onList(a)
	}
	return missing == "", missing
}

// Traceless reports whether a leaves nothing behind by which it could be told, from
// an observation, that it was done: it may not be left out because Holds says so.
func Traceless(a Action) bool {
	switch a := a.(type) {
	case Trial, Verify, Save:
		return true
	case Recover:
		return a.InPlace == nil
	}
	return false
}

// held looks for what is missing; each of its methods gives "" for nothing.
type held struct{ obs *Observation }

func (h held) at(name string) *MemberObservation {
	if o, ok := h.obs.Members[name]; ok {
		return &o
	}
	return nil
}

// data is what lies at a member's place, or why that is not known.
func (h held) data(name string) (*DataDir, string) {
	o, ok := h.obs.Members[name]
	switch {
	case !ok:
		return nil, name + " was not looked at"
	case !o.Data.Known():
		return nil, fmt.Sprintf("what lies at %s's place is not known: %s", name, o.Data.Why)
	}
	return &o.Data.Value, ""
}

func (h held) claim(a Claim) string {
	for _, m := range a.Members {
		d, why := h.data(m.Name)
		if why != "" {
			return why
		}
		if p := d.Provenance; p == nil || p.Token != m.Provenance.Token || p.ClusterID != m.Provenance.ClusterID || p.MemberID != m.Provenance.MemberID {
			return m.Name + "'s new identity is not recorded"
		}
	}
	return ""
}

func (h held) restore(a Restore) string {
	for _, m := range a.Members {
		d, why := h.data(m.Name)
		if why != "" {
			return why
		}
		recorded := d.Provenance != nil && d.Provenance.Token == m.Provenance.Token
		if !recorded || d.Staged != m.Provenance.Token && !d.installed(&m.Provenance) {
			return m.Name + " has nothing restored under this plan's token"
		}
	}
	return ""
}

func (h held) trial(a Trial) string {
	d, why := h.data(a.Name)
	if why == "" && (a.Token == "" || d.Staged != a.Token && (d.Provenance == nil || d.Provenance.Token != a.Token || !d.installed(d.Provenance))) {
		return a.Name + " has nothing restored under this plan's token, to be tried"
	}
	return why
}

func (h held) install(a Install) string {
	for _, m := range a.Members {
		d, why := h.data(m.Name)
		if why != "" {
			return why
		}
		if d.Provenance == nil || d.Provenance.Token != a.Token || !d.installed(d.Provenance) {
			return m.Name + "'s restored directory is not in its place"
		}
	}
	return ""
}

func (h held) start(a Start) string {
	for _, m := range a.Members {
		why := ""
		if a.Closed {
			why = h.runsClosed(m)
		} else {
			why = h.serves(m.Name, m.ClusterID, m.MemberID)
		}
		if why != "" {
			return why
		}
	}
	return ""
}

// runsClosed is for a member that has to run with closed client listeners.
func (h held) runsClosed(m StartMember) string {
	o := h.at(m.Name)
	switch {
	case o == nil || !o.Service.Known():
		return "whether " + m.Name + " runs is not known"
	case o.Service.Value.State != ServiceRunning:
		return m.Name + " does not run"
	case !Closed(o.Service.Value.Args):
		return m.Name + " runs for clients already"
	case o.Data.Known() && (o.Data.Value.ClusterID != m.ClusterID || o.Data.Value.MemberID != m.MemberID):
		return fmt.Sprintf("%s runs as member %s of cluster %s, not as %s of %s", m.Name, o.Data.Value.MemberID, o.Data.Value.ClusterID, m.MemberID, m.ClusterID)
	}
	return ""
}

// serves is for a member that has to serve as this one, under a leader.
func (h held) serves(name, clusterID, memberID string) string {
	o := h.at(name)
	if o == nil {
		return name + " was not looked at"
	}
	switch e := &o.Client; {
	case e.Reach == ReachServing && (e.ClusterID != clusterID || e.MemberID != memberID):
		return fmt.Sprintf("member %s of cluster %s answers at %s's address, not member %s of cluster %s", e.MemberID, e.ClusterID, name, memberID, clusterID)
	case e.Reach != ReachServing && o.runs():
		return fmt.Sprintf("%s runs and does not serve yet: %s", name, e.Reach)
	case e.Reach != ReachServing:
		return name + " does not run"
	case e.LeaderID == "":
		return name + " has no leader"
	case !e.Learner && !(e.Linearizable.Known() && e.Linearizable.Value):
		return name + " has no quorum behind it"
	}
	return ""
}

func (h held) adopt(a Adopt) string {
	for _, m := range a.Members {
		o := h.at(m.Name)
		if o == nil || !o.Service.Known() {
			return "whether " + m.Name + " runs is not known"
		}
		if s := &o.Service.Value; s.State != ServiceRunning || s.SupervisorPID == 0 || s.Foreign != nil {
			return m.Name + " has no supervisor of requorum's"
		}
		for _, f := range m.Files {
			if u := o.Service.Value.Unit; u == nil || u.Files[f.Path] != f.Text {
				return f.Path + " is not as it is to be"
			}
		}
	}
	return ""
}

func (h held) verify(a Verify) string {
	if a.Closed != nil {
		return verifiedClosed(a, h.at)
	}
	if why := verified(a, h.at, h.obs); why != "" {
		return why
	}
	if list, _ := h.list(); a.Version != "" {
		ms := make([]MemberObservation, 0, len(h.obs.Members))
		for _, o := range h.obs.Members {
			ms = append(ms, o)
		}
		if why := arrived(a.Version, h.obs, ms, list, true); why != "" {
			return why
		}
	}
	if !a.Disarm {
		return ""
	}
	for _, name := range a.Members {
		e := &h.at(name).Client
		for _, alarm := range e.Alarms {
			if e.Members.Known() && stray(alarm, e.Members.Value) {
				return "an alarm that came with the snapshot is still on: " + alarm
			}
		}
	}
	return ""
}

func (h held) stop(a Stop) string {
	for _, m := range a.Members {
		o := h.at(m.Name)
		if o == nil { // a member that the file has no more
			if slices.ContainsFunc(h.obs.Etcds, func(x Foreign) bool { return x.on(m.DataDir) && x.Host == m.Host }) {
				return m.Name + " runs"
			}
			if i := slices.IndexFunc(h.obs.Others, func(x OtherMember) bool { return x.Name == m.Name }); i >= 0 {
				if x := &h.obs.Others[i]; x.Client.Reach == ReachServing || x.Peer.Reach == ReachServing {
					return m.Name + " runs"
				}
			}
			continue
		}
		if !o.Service.Known() {
			return fmt.Sprintf("whether %s runs is not known: %s", m.Name, o.Service.Why)
		}
		s := &o.Service.Value
		switch {
		case s.State == ServiceRunning, s.State == ServiceBackoff:
			return m.Name + "'s service runs"
		case s.Foreign != nil && (m.PID == 0 || s.Foreign.PID != m.PID || s.Foreign.Start != m.Start):
			continue // another one, which this is not about
		case s.Foreign != nil, o.Data.Known() && o.Data.Value.HeldBy != 0:
			return m.Name + "'s process runs"
		}
	}
	return ""
}

func (h held) setAside(a SetAside) string {
	d, why := h.data(a.Name)
	if why != "" {
		return why
	}
	there := Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
	if d.State == DirFenced || there == (Identity{}) && d.State != DirPresent && !d.Leftovers || there != a.Over && a.Over != (Identity{}) {
		return ""
	}
	return a.Name + "'s place is not free: what lies there is not moved aside"
}

func (h held) fence(a Fence) string {
	for _, m := range a.Members {
		d, why := h.data(m.Name)
		switch {
		case why != "":
			return why
		case d.State != DirFenced:
			return m.Name + " is not fenced"
		case d.holds() != m.Over:
			return m.Name + "'s fence has other data behind it than the plan saw"
		case d.HeldBy != 0:
			return fmt.Sprintf("process %d has %s's data open behind the fence", d.HeldBy, m.Name)
		}
	}
	for _, p := range a.Vacant {
		o := h.at(p.Name)
		if o == nil || !o.Service.Known() || o.Service.Value.Unit == nil || !o.Service.Value.Unit.Barred {
			return p.Name + "'s unit is not kept from being started"
		}
	}
	return ""
}

func (h held) unfence(a Unfence) string {
	for _, m := range a.Members {
		d, why := h.data(m.Name)
		switch {
		case why != "":
			return why
		case d.State != DirPresent || d.holds() != m.Over:
			return m.Name + "'s data is not in its place"
		}
	}
	return ""
}

func (h held) recover(a Recover) string {
	if a.From != nil {
		if s := h.obs.Snapshot; s == nil || s.Dir == nil || s.Dir.MemberID != a.MemberID || s.Dir.LastIndex != a.LastIndex {
			return a.From.DataDir + " is not what the plan saw"
		}
		return ""
	}
	d, why := h.data(a.Name)
	switch p := a.InPlace; {
	case why != "":
		return why
	case p != nil && (d.Provenance == nil || d.Provenance.Token != p.Token || d.Staged != p.Token && !d.installed(p)):
		return a.Name + "'s recovered directory is not staged"
	case p == nil && (d.State != DirFenced || d.holds() != Identity{ClusterID: a.ClusterID, MemberID: a.MemberID}):
		return a.Name + ", which is to be recovered from, is not behind a fence"
	}
	return ""
}

func (h held) save(a Save) string { return h.answers(a.Name, a.ClusterID, a.MemberID) }

// answers is for a member that has to answer, with or without a quorum.
func (h held) answers(name, clusterID, memberID string) string {
	o := h.at(name)
	if o == nil || o.Client.Reach != ReachServing || o.Client.ClusterID != clusterID || o.Client.MemberID != memberID {
		return fmt.Sprintf("%s does not serve as member %s of cluster %s", name, memberID, clusterID)
	}
	return ""
}

func (h held) onList(a Action) string {
	list, leader := h.list()
	if list == nil {
		return "no member with a quorum behind it gave the member list"
	}
	at := func(urls []string) *ListedMember {
		for i := range list {
			if SameURLs(list[i].PeerURLs, urls) {
				return &list[i]
			}
		}
		return nil
	}
	switch a := a.(type) {
	case Update:
		if l := entryOf(list, a.MemberID); l == nil || !SameURLs(l.PeerURLs, a.PeerURLs) {
			return fmt.Sprintf("%s is not listed with the peer URLs %s", a.Name, strings.Join(a.PeerURLs, ","))
		}
	case Add:
		if at(a.PeerURLs) == nil {
			return a.Name + " is not in the member list"
		}
	case Join:
		l := at(a.PeerURLs)
		if l == nil {
			return a.Name + " is not in the member list"
		}
		if l.Name != a.Name {
			return a.Name + " is listed and has not started"
		}
		return h.serves(a.Name, a.ClusterID, l.ID)
	case Promote:
		if l := at(a.PeerURLs); l == nil || l.Learner {
			return a.Name + " is not listed as a voter"
		}
	case MoveLeader:
		if leader == "" || leader == a.FromID {
			return a.From + " still leads"
		}
	case Remove:
		if entryOf(list, a.MemberID) != nil {
			return a.Name + " is still in the member list"
		}
	case Downgrade:
		return h.downgrade(a)
	case TrimLog:
		return h.trimLog(a)
	case CancelDowngrade:
		return h.cancelDowngrade(a)
	default:
		return fmt.Sprintf("what %q leads to is not known", a.Kind())
	}
	return ""
}

// list is the member list that a quorum stands behind, and who leads it.
func (h held) list() (list []ListedMember, leader string) {
	var first string
	for name, o := range h.obs.Members {
		e := &o.Client
		if e.Reach == ReachServing && e.Linearizable.Known() && e.Linearizable.Value && e.Members.Known() && (first == "" || name < first) {
			first, list, leader = name, e.Members.Value, e.LeaderID
		}
	}
	return list, leader
}
