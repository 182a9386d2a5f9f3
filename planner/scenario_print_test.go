package planner_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// planText is a plan in short: whatever a reader has to judge, and none of the words
// that may change without a change of sense.
func (s *scenario) planText(p *planner.Plan) string {
	var b strings.Builder
	for _, f := range p.States {
		of := ""
		if f.Member != "" {
			of = f.Member + ": "
		}
		fmt.Fprintf(&b, "state %d %s (%s%s)\n", numberOf(f.State), f.State, of, f.Fact)
	}
	if p.Refusal != nil {
		fmt.Fprintf(&b, "refused %s: %s\n  %s\n", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
		for _, r := range p.Refusal.Remedy {
			fmt.Fprintf(&b, "  - %s\n", r)
		}
	} else {
		fmt.Fprintf(&b, "%s: %s\n", p.Route, p.Headline)
	}
	for _, d := range p.Doubts {
		fmt.Fprintf(&b, "in doubt: %s: %s\n", strings.TrimSpace(d.Member+" "+d.Fact), d.Why)
	}
	for _, v := range p.Survivors {
		fmt.Fprintf(&b, "survivor %s: %s, proven %s: %s\n", v.Name, v.Last, v.Proven, v.Verdict)
	}
	if p.Loss.Text != "" && p.Refusal == nil {
		fmt.Fprintf(&b, "%s\n", p.Loss.Text)
	}
	for _, n := range p.Needs {
		given := ""
		if n.Given {
			given = " (given)"
		}
		fmt.Fprintf(&b, "needs %s%s\n", n.Consent, given)
	}
	for _, step := range p.Steps {
		fmt.Fprintf(&b, "%d %s\n", step.ID, stepText(step))
	}
	var codes []string
	for _, n := range p.Notices {
		codes = append(codes, string(n.Code))
	}
	if slices.Sort(codes); len(codes) > 0 {
		fmt.Fprintf(&b, "notices %s\n", strings.Join(slices.Compact(codes), " "))
	}
	return s.label(b.String())
}

// stepText is a step with the quorum that it leaves.
func stepText(step planner.Step) string {
	kind := step.Kind
	switch a := step.Action.(type) {
	case planner.Start:
		if a.Closed {
			kind += "-closed"
		}
	case planner.Verify:
		if a.Closed != nil {
			kind += "-closed"
		}
	}
	return fmt.Sprintf("%s %s: %s", kind, strings.Join(step.Target, " "), quorumText(step.After))
}

func quorumText(q planner.Quorum) string {
	if !q.Has() {
		return fmt.Sprintf("%d of %d voters, no quorum", q.Healthy, q.Voters)
	}
	return fmt.Sprintf("%d of %d voters, may lose %d", q.Healthy, q.Voters, q.Tolerance())
}

func numberOf(c planner.StateCode) int {
	for _, s := range planner.States() {
		if s.Code == c {
			return s.Number
		}
	}
	return 0
}

// label writes the IDs in a text as what they are: a1 is m1's under the identity of
// before, whose cluster is C0; b1 and C1 are those of the first new identity, and x1
// is the first ID that etcd gave to a member.
func (s *scenario) label(text string) string {
	members := append(slices.Clone(s.cluster.Members), s.view.members()...)
	for n := range s.token + 1 {
		token := tokenBefore
		if n > 0 {
			token = fmt.Sprintf("token-%d", n)
		}
		text = strings.ReplaceAll(text, token, fmt.Sprintf("token%d", n))
		for _, m := range members {
			text = strings.ReplaceAll(text, planner.MemberID(m.PeerURLs, token), string(rune('a'+n))+m.Name[1:])
		}
		text = strings.ReplaceAll(text, planner.ClusterID(s.cluster.Members, token), fmt.Sprintf("C%d", n))
	}
	text = strings.ReplaceAll(text, s.view.cluster, "C0")
	return idText.ReplaceAllStringFunc(text, func(id string) string {
		if !slices.Contains(s.newIDs, id) {
			s.newIDs = append(s.newIDs, id)
		}
		return fmt.Sprintf("x%d", slices.Index(s.newIDs, id)+1)
	})
}

var idText = regexp.MustCompile(`\b[0-9a-f]{13,16}\b`)

// seen has a line for each member as it is observed, and the cluster's list.
func (s *scenario) seen(obs planner.Observation) string {
	return strings.Join(s.lines(obs), "")
}

// changed has those lines of after that before has not.
func (s *scenario) changed(before, after planner.Observation) string {
	old := s.lines(before)
	out := ""
	for _, l := range s.lines(after) {
		if !slices.Contains(old, l) {
			out += "  " + l
		}
	}
	return out
}

func (s *scenario) lines(obs planner.Observation) []string {
	var out []string
	for _, m := range s.cluster.Members {
		out = append(out, s.label(fmt.Sprintf("%s  %s\n", m.Name, memberText(obs.Members[m.Name]))))
	}
	for _, o := range obs.Others {
		out = append(out, s.label(fmt.Sprintf("other %s  %s\n", nameOr(o.Name, o.ID), processText(o.Client, o.Peer, planner.Fact[planner.Service]{}))))
	}
	var lists []string // each that some member serves
	for _, m := range s.cluster.Members {
		e := obs.Members[m.Name].Client
		if e.Reach == planner.ReachServing && e.Members.Known() {
			if l := s.label("list " + listOf(e.Members.Value, s.cluster) + "\n"); !slices.Contains(lists, l) {
				lists = append(lists, l)
			}
		}
	}
	return append(out, lists...)
}

func nameOr(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// listOf is a member list as the `list` line of an observation is written.
func listOf(list []planner.ListedMember, c *spec.Cluster) string {
	var out []string
	for _, l := range list {
		name := l.Name
		for _, m := range c.Members {
			if name == "" && planner.SameURLs(m.PeerURLs, l.PeerURLs) {
				name = m.Name
			}
		}
		name = nameOr(name, l.ID)
		if len(name) == 2 && !slices.Contains(l.PeerURLs, "http://10.0.0."+name[1:]+":2380") {
			name += "@" + strings.TrimPrefix(strings.Join(l.PeerURLs, "+"), "http://")
		}
		if l.Learner {
			name += ":learner"
		}
		if l.Name == "" && len(l.ClientURLs) == 0 {
			name += ":unstarted"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func memberText(o planner.MemberObservation) string {
	return fmt.Sprintf("%-22s %s", processText(o.Client, o.Peer, o.Service), dataText(o.Data))
}

func processText(e planner.Endpoint, peer planner.PeerEndpoint, service planner.Fact[planner.Service]) string {
	role := ""
	switch {
	case e.Reach != planner.ReachServing && service.Value.State == planner.ServiceFailed:
		return "given up"
	case e.Reach != planner.ReachServing && service.Value.State == planner.ServiceBackoff:
		return "dies again"
	case e.Reach == planner.ReachRefused && service.Value.State == planner.ServiceRunning && planner.Closed(service.Value.Args):
		return "runs, closed"
	case e.Reach == planner.ReachRefused:
		return "down"
	case e.Reach != planner.ReachServing && peer.Reach == planner.ReachServing:
		return string(e.Reach) + ", peers reach it"
	case e.Reach != planner.ReachServing:
		return string(e.Reach)
	case e.Learner:
		role = "learner"
	case e.LeaderID == "":
		role = "no leader"
	case e.LeaderID == e.MemberID:
		role = "leader"
	default:
		role = "follower"
	}
	return "serves, " + role
}

func dataText(data planner.Fact[planner.DataDir]) string {
	if !data.Known() {
		return "data unknown: " + data.Why
	}
	d := data.Value
	text := ""
	switch d.State {
	case planner.DirAbsent, planner.DirEmpty:
		text = "no data"
		if d.State == planner.DirEmpty {
			text = "an empty directory"
		}
		for _, e := range d.Evidence {
			text += ", though " + e
		}
	case planner.DirNotDir:
		return "not a directory"
	case planner.DirFenced:
		text = "fenced"
		if d.Fenced != nil {
			text += ": " + dataText(planner.Known(*d.Fenced))
		}
	default:
		text = fmt.Sprintf("%s %s, log %d/%d", d.ClusterID, d.MemberID, d.LastTerm, d.LastIndex)
		if d.ClusterID == "" {
			text = "nobody's"
		}
		if d.Problem != "" {
			text += ", " + d.Problem
		}
	}
	if d.Staged != "" {
		text += ", staged under " + d.Staged
	} else if p := d.Provenance; p != nil && (d.State != planner.DirPresent || !d.EverRan) {
		text += fmt.Sprintf(", %s under %s", p.Kind, p.Token)
	}
	return text
}

func cloneObservation(obs planner.Observation) planner.Observation {
	out := obs
	out.Members = map[string]planner.MemberObservation{}
	for name, m := range obs.Members {
		out.Members[name] = m
	}
	out.Others = slices.Clone(obs.Others)
	return out
}
