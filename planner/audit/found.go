package audit

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// states takes over what the plan found, with what its refusal says to do.
func (f *finder) states() {
	for _, s := range f.in.Plan.States {
		if _, ok := kinds[Code(s.State)]; !ok {
			continue
		}
		x := f.add(Code(s.State), s.Member, "%s", s.Fact)
		if r := f.in.Plan.Refusal; r != nil && string(r.Code) == string(s.State) {
			x.Remedy = r.Remedy
		}
	}
}

var differenceCodes = map[planner.DifferenceKind]Code{
	planner.DiffersMembership: DriftMembership, planner.DiffersLearner: LearnerLeft, planner.DiffersURLs: DriftURLs,
	planner.DiffersSettings: DriftSettings, planner.DiffersVersion: DriftVersion, planner.DiffersKeeper: Code(planner.NoteNotSupervised),
}

// differences says what is not as the file has it, but for members of whom a state says
// more.
func (f *finder) differences() {
	for _, d := range f.in.Differences {
		code := differenceCodes[d.Kind]
		moved := f.of(Code(planner.StatePeerURLStale), d.Member) != nil || f.of(Code(planner.StateAllAddressesChanged), d.Member) != nil
		switch {
		case code == DriftURLs && moved, code == DriftMembership && f.about(d.Member, Warning):
			continue
		}
		x := f.of(code, d.Member)
		if x != nil {
			x.Fact += "; " + d.Fact
			continue
		}
		x = f.add(code, d.Member, "%s", d.Fact)
		if code == DriftVersion && f.in.Cluster.Etcd.VersionPos != (spec.Position{}) {
			x.Pos = f.in.Cluster.Etcd.VersionPos
		}
	}
}

// seen goes through the members of the file, in its order.
func (f *finder) seen(each func(name string, m spec.Member, o planner.MemberObservation)) {
	for _, m := range f.in.Cluster.Members {
		each(m.Name, m, f.in.Observation.Members[m.Name])
	}
}

// addresses names hosts and members that can't be asked, each once.
func (f *finder) addresses() {
	f.seen(func(name string, m spec.Member, o planner.MemberObservation) {
		if why := unseen(o); why != "" {
			f.add(HostUnreachable, name, "%s", why)
			return
		}
		e := o.Client
		switch e.Reach {
		case planner.ReachServing, planner.ReachRefused, "":
			return
		}
		if !f.about(name, Warning) {
			f.add(MemberUnreachable, name, "%s", strings.TrimSuffix(strings.TrimSpace(e.URL+": "+string(e.Reach)+" ("+e.Detail+")"), " ()"))
		}
	})
	for _, o := range f.in.Observation.Others {
		if e := o.Client; o.Name != "" && f.of(DriftMembership, o.Name) == nil && !f.about(o.Name, Warning) && e.Reach != planner.ReachServing && e.Reach != planner.ReachRefused && e.Reach != "" && e.Reach != planner.ReachUnasked {
			f.add(MemberUnreachable, o.Name, "%s: %s; it is not in the file", e.URL, e.Reach)
		}
	}
}

// unseen is why nothing is known of a member's host; "" where something is.
func unseen(o planner.MemberObservation) string {
	if o.Host == "" || o.Data.Known() || o.Service.Known() || o.Data.Why != o.Service.Why {
		return ""
	}
	if o.Data.Why == "" {
		return "it was not looked at"
	}
	return o.Data.Why
}

// services: who starts a member again, after a crash and after a reboot.
func (f *finder) services() {
	var ours []string
	f.seen(func(name string, m spec.Member, o planner.MemberObservation) {
		s := o.Service
		if !s.Known() || o.Client.Reach != planner.ReachServing {
			return
		}
		v := s.Value
		switch {
		case v.Foreign != nil:
		case v.Unit != nil && v.State == planner.ServiceRunning && !v.Unit.BootStarts():
			f.add(Code(planner.NoteNoBootStart), name, "%s is %s", v.Unit.Name, orWord(v.Unit.Enabled, "not enabled"))
		case v.Commands != nil && !v.Commands.Interim && !v.Commands.Closed: // whether they are run at boot only their owner knows
		case v.Unit == nil && v.State == planner.ServiceRunning && v.SupervisorPID != 0:
			ours = append(ours, name)
		}
		if v.Restarts > 0 && v.Foreign == nil {
			f.add(Code(planner.NoteRestarts), name, "started again %d times: %s", v.Restarts, orWord(v.LastError, "its last words are not known"))
		}
	})
	if len(ours) > 0 {
		f.add(Code(planner.NoteNoBootStart), "", "requorum's own supervisor keeps %s, and nothing starts that at boot", strings.Join(ours, ", "))
	}
	for _, n := range f.in.Plan.Notices {
		switch n.Code {
		case planner.NoteNotSupervised, planner.CodeDataUnknown:
			if name := f.memberAt(n.Pos); name != "" && f.of(HostUnreachable, name) == nil {
				f.add(Code(n.Code), name, "%s", n.Text)
			}
		case planner.NoteWithoutUser:
			f.add(Code(n.Code), "", "%s", n.Text)
		}
	}
}

// memberAt is the member that stands there in the file; "" for none.
func (f *finder) memberAt(pos spec.Position) string {
	for _, m := range f.in.Cluster.Members {
		if m.Pos == pos && pos != (spec.Position{}) {
			return m.Name
		}
	}
	return ""
}

// bugs are those of the versions that run, as the plan has them.
func (f *finder) bugs() {
	for _, n := range f.in.Plan.Notices {
		if strings.HasPrefix(string(n.Code), "etcd-") {
			x := f.add(Code(n.Code), "", "%s", n.Text)
			if n.Pos != (spec.Position{}) {
				x.Pos = n.Pos
			}
		}
	}
}

// refusal adds that there is no safe plan, where nothing that was found says why.
func (f *finder) refusal() {
	r := f.in.Plan.Refusal
	if r == nil {
		return
	}
	if r.Code == planner.CodeClusterIDChanged {
		x := f.add(Code(r.Code), "", "%s", r.Detail)
		x.Remedy, x.Pos = r.Remedy, r.Pos
		return
	}
	if x := f.of(MemberUnreachable, f.memberAt(r.Pos)); x != nil && (r.Code == planner.CodePortTaken || r.Code == planner.CodeWrongService) {
		x.Fact, x.Remedy = r.Title+": "+r.Detail, r.Remedy // it says more
		return
	}
	if f.explained(r.Code) {
		return
	}
	x := f.add(NoSafePlan, "", "%s: %s. %s", r.Code, r.Title, r.Detail)
	x.Remedy = r.Remedy
	if r.Pos != (spec.Position{}) {
		x.Pos = r.Pos
	}
}

// explained reports whether what was found is the reason of a refusal: a state that
// goes by its name or always with it, or members that can't be looked at.
func (f *finder) explained(code planner.Code) bool {
	if s, ok := planner.RefusedState(code); ok && f.any(Code(s)) || f.any(Code(code)) {
		return true
	}
	unreachable := f.any(HostUnreachable, MemberUnreachable)
	lost := slices.ContainsFunc(f.in.Plan.States, func(s planner.Finding) bool { return kinds[Code(s.State)].Severity >= Error })
	switch code {
	case planner.CodeUnreachable, planner.CodeDataUnknown, planner.CodeHostUnsupported, planner.CodeAuthRequired, planner.CodeWrongService:
		return unreachable
	case planner.CodeDeadWithAlive, planner.CodeNoLeader:
		return unreachable || lost
	case planner.CodeDataMissing, planner.CodeDataDamaged, planner.CodeMembershipInDoubt, planner.CodeVoterOutside, planner.CodeBinaryVersion,
		planner.CodeDirOlder, planner.CodeRouteReconfigure, planner.CodeDataHeld:
		return lost
	case planner.CodeFeatureUnsupported:
		return f.any(DriftVersion)
	}
	// A state that looks the same stands in its place.
	s, ok := planner.RefusedState(code)
	return ok && slices.ContainsFunc(f.in.Plan.States, func(x planner.Finding) bool { return planner.Alike(x.State, s) })
}

// unexplained adds that a plan has something to do, where nothing that was found says
// what.
func (f *finder) unexplained() {
	p := f.in.Plan
	switch {
	case p.Refusal != nil || !p.Changes():
	case p.Route == planner.RouteBootstrap && !f.any(Code(planner.StateRestoreHalfDone)), p.Route == planner.RouteRestore && len(p.States) == 0:
		f.add(NoCluster, "", "no member answers, and no data is at any place of the file")
	case p.Route == planner.RouteStart && !p.Before.Has() && !f.critical():
		f.add(ClusterDown, "", "%s", p.Headline)
	case len(p.States) == 0 && len(f.in.Differences) == 0:
		f.add(NotInSync, "", "%s", p.Headline)
	}
}

// critical reports whether anything is, of whomever.
func (f *finder) critical() bool {
	return slices.ContainsFunc(f.list, func(x Finding) bool { return x.Severity == Critical })
}

// saysMore are states of a member that say why it is down, or what is lost of it.
var saysMore = []planner.StateCode{
	planner.StateRemovedMemberExits, planner.StateEmptyDirNew, planner.StateEmptyDirExisting, planner.StateDiskRolledBack,
	planner.StateInitialClusterWrong, planner.StateNameNotInInitial, planner.StateForceNewSpoilt, planner.StateLearnerBlocksUpgrade,
	planner.StateWALLost, planner.StateDBLost, planner.StateSnapDirLost, planner.StateDBCorrupt, planner.StateWALCRC, planner.StateWALTorn,
	planner.StateDBOlderThanLog, planner.StateDirNewerThanBinary, planner.StateDirOlderThanBinary, planner.StateDirHeldTwice, planner.StateDiskFull,
	planner.StateZombieMember, planner.StateLearnerUnstarted,
}

// dropConsequences takes out what follows from something that was found too.
func (f *finder) dropConsequences() {
	has := func(member string, codes ...planner.StateCode) bool {
		return slices.ContainsFunc(codes, func(c planner.StateCode) bool { return f.of(Code(c), member) != nil })
	}
	f.list = slices.DeleteFunc(slices.Clone(f.list), func(x Finding) bool {
		switch x.Code {
		case Code(planner.StateMinorityDown), Code(planner.StateMinorityLost):
			return has(x.Member, saysMore...)
		case Code(planner.NoteNotCompared): // with what else is the matter nobody could
			return slices.ContainsFunc(f.list, func(o Finding) bool { return o.Severity >= Error })
		case QuotaNear:
			return f.any(Code(planner.StateSpaceExhausted))
		case SlowDisk:
			return f.any(Code(planner.StateLeaderFlapping))
		case DriftSettings:
			if has(x.Member, planner.StateDirHeldTwice) {
				return true
			}
		}
		// What answers there is not the file's member: to apply the file would not bring
		// it in line, and is refused.
		return strings.HasPrefix(string(x.Code), "drift-") && has(x.Member, planner.StateClusterIDMismatch, planner.StateOldMemberSameID)
	})
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}
