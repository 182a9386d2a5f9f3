package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// differences are the lines that two observations do not have in common, once IDs
// that are new since the one before are called by whose they are.
func differences(a planner.Action, before, predicted, real planner.Observation) []string {
	known := map[string]bool{}
	for _, l := range lists(before) {
		known[l.ID] = true
	}
	x, y := described(a, predicted, known), described(a, real, known)
	var out []string
	for _, line := range x {
		if !slices.Contains(y, line) {
			out = append(out, "predicted  "+line)
		}
	}
	for _, line := range y {
		if !slices.Contains(x, line) {
			out = append(out, "observed   "+line)
		}
	}
	return out
}

func lists(obs planner.Observation) []planner.ListedMember {
	var out []planner.ListedMember
	for _, m := range obs.Members {
		out = slices.Concat(out, m.Client.Members.Value, m.Peer.Members.Value, m.Data.Value.Members)
		if f := m.Data.Value.Fenced; f != nil {
			out = append(out, f.Members...)
		}
	}
	for _, o := range obs.Others {
		out = append(out, o.ListedMember)
	}
	return out
}

// described is an observation in lines, as far as plans follow from it: no times, no
// process IDs, no ends of logs, and no leader by name unless the action is about him.
func described(a planner.Action, obs planner.Observation, known map[string]bool) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for name, m := range obs.Members {
		describeEndpoint(name+" client", a, m.Client, say)
		say("%s peer %s %s %s", name, m.Peer.Reach, m.Peer.ClusterID, listText(m.Peer.Members))
		if d := m.Data; d.Known() {
			describeDir(name+" dir", d.Value, say)
		} else {
			say("%s dir %s: %s", name, d.State, d.Why)
		}
		v := m.Service.Value
		say("%s service %s of %q, known %v, supervised %v, foreign %v, binary %s, restarts %v", name, v.State, v.Cluster, m.Service.Known(), v.SupervisorPID != 0, v.Foreign != nil, v.Binary, v.Restarts > 0)
		if v.State == planner.ServiceRunning {
			say("%s runs with %q, carried %q", name, v.Args, v.Carried)
		}
		if v.State == planner.ServiceFailed {
			say("%s failed by removal: %v", name, strings.Contains(v.LastError, "permanently removed"))
		}
		say("%s ports taken %v", name, m.PortsTaken)
	}
	for _, o := range obs.Others {
		say("other %s %s", listed(o.ListedMember), o.Peer.Reach)
		describeEndpoint("other "+o.ID, a, o.Client, say)
	}
	names := map[string]string{}
	for _, l := range lists(obs) {
		if !known[l.ID] {
			names[l.ID] = "new(" + strings.Join(l.PeerURLs, ",") + ")"
		}
	}
	for i, line := range lines {
		for id, name := range names {
			line = strings.ReplaceAll(line, id, name)
		}
		lines[i] = line
	}
	return lines
}

func describeEndpoint(who string, a planner.Action, e planner.Endpoint, say func(string, ...any)) {
	if e.Reach != planner.ReachServing {
		say("%s %s", who, e.Reach)
		return
	}
	say("%s serves as %s of %s, leader %v, learner %v, linearizable %v %v, version %s", who, e.MemberID, e.ClusterID, e.LeaderID != "", e.Learner, e.Linearizable.Known(), e.Linearizable.Value, e.Version)
	say("%s lists %s", who, listText(e.Members))
	say("%s alarms %v", who, e.Alarms)
	if m, ok := a.(planner.MoveLeader); ok {
		say("%s follows another than before: %v", who, e.LeaderID != m.FromID)
	}
}

func describeDir(who string, d planner.DataDir, say func(string, ...any)) {
	say("%s %s, member %s of %s, problem %v, held %v, ever ran %v, staged %q", who, d.State, d.MemberID, d.ClusterID, d.Problem != "", d.HeldBy != 0, d.EverRan, d.Staged)
	say("%s lists %s", who, listText(planner.Known(d.Members)))
	if p := d.Provenance; p != nil {
		say("%s is from %s under %s, as %s of %s of %s, agrees %v", who, p.Kind, p.Token, p.MemberID, p.ClusterID, sorted(p.InitialCluster), d.ProvenanceAgrees)
	} else {
		say("%s has no record", who)
	}
	if d.State == planner.DirAbsent || d.State == planner.DirEmpty {
		say("%s has evidence: %v", who, len(d.Evidence) > 0)
	}
	say("%s never started: %v", who, !d.EverRan && d.LastTerm <= 1 && d.LastIndex == uint64(len(d.Members)))
	if d.Fenced != nil {
		describeDir(who+", behind the fence,", *d.Fenced, say)
	}
}

func sorted(initialCluster string) string {
	parts := strings.Split(initialCluster, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func listed(l planner.ListedMember) string {
	return fmt.Sprintf("%v %q %v learner %v is %s", l.PeerURLs, l.Name, l.ClientURLs, l.Learner, l.ID)
}

func listText(list planner.Fact[[]planner.ListedMember]) string {
	if !list.Known() {
		return "unknown"
	}
	var out []string
	for _, l := range list.Value {
		out = append(out, listed(l))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
