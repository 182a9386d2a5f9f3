package planner

import (
	"fmt"
	"strings"
)

// doubts lists what could not be learned of the members, and what would settle it.
// An address that refuses is no doubt: the host itself says that nothing listens.
func (b *builder) doubts() []Doubt {
	var out []Doubt
	for _, m := range b.members {
		out = append(out, b.memberDoubts(m)...)
	}
	for _, o := range b.obs.Others {
		if b.listed(o.ID).ID != "" && o.Client.Reach != ReachRefused && o.Peer.Reach != ReachServing {
			out = append(out, b.reachDoubt(nameOf(o.ListedMember), o.Client)...)
		}
	}
	if f := b.obs.KV; !f.Known() && count(b.members, condServing) > 1 {
		settle := "plan again when all of them serve; who writes all the time can be asked to pause"
		if !b.quorum.Has() {
			settle = "plan again when there is a quorum; until then it is their logs that are compared"
		}
		out = append(out, doubt("", "whether the members hold the same data", f, settle))
	}
	return out
}

func (b *builder) memberDoubts(m *member) []Doubt {
	name := m.spec.Name
	if why := m.hostUnseen(); why != "" {
		out := []Doubt{{Member: name, Fact: "how its host stands: its data, what runs it, its etcd and the room there", State: FactUnknown, Why: why, Settle: m.accessRemedy()}}
		out[0].Settle = strings.TrimSuffix(strings.ToLower(out[0].Settle[:1])+out[0].Settle[1:], ".")
		return append(out, b.answerDoubts(m)...)
	}
	var out []Doubt
	access := fmt.Sprintf("give requorum access to %s: run it as root, or as the one whose directory it is", m.spec.DataDir)
	if f := m.seen.Data; !f.Known() {
		out = append(out, doubt(name, "what lies in its data directory", f, access))
	}
	if f := m.seen.Service; !f.Known() {
		out = append(out, doubt(name, "what runs it", f, access))
	}
	if f := m.seen.Binary; !f.Known() {
		out = append(out, doubt(name, "which etcd would be started for it", f, "put one there, or name another: etcd { binary = … }"))
	}
	if f := m.seen.FreeBytes; !f.Known() && f.Why != "" {
		out = append(out, doubt(name, "how much room its disk has", f, access))
	}
	return append(out, b.answerDoubts(m)...)
}

// hostUnseen is why nothing at all is known of the member's host, where that is
// another machine; "" where something is.
func (m *member) hostUnseen() string {
	o := m.seen
	if o.Host == "" || o.Data.Known() || o.Data.Why != o.Service.Why || o.Data.Why != o.Binary.Why {
		return ""
	}
	return o.Data.Why
}

// answerDoubts are those about what the member's own addresses say.
func (b *builder) answerDoubts(m *member) []Doubt {
	name, e := m.spec.Name, m.seen.Client
	var out []Doubt
	switch {
	case e.Reach == ReachServing && !e.Learner:
		again := "plan again in a few seconds: an election may be going on"
		if f := e.Linearizable; !f.Known() {
			out = append(out, doubt(name, "whether it has a part in the quorum", f, again))
		}
		if f := e.Members; !f.Known() {
			out = append(out, doubt(name, "whom it has in its member list", f, again))
		}
	case e.Reach == ReachHangs && m.seen.Peer.Reach == ReachServing:
		// It lacks a quorum: that is known.
	case e.Reach != ReachServing && e.Reach != ReachRefused:
		out = append(out, b.reachDoubt(name, e)...)
	}
	return out
}

// doubt is one about a fact that was asked for.
func doubt[T any](member, what string, f Fact[T], settle string) Doubt {
	state := f.State
	if state == "" {
		state = FactUnknown
	}
	return Doubt{Member: member, Fact: what, State: state, Why: orWord(f.Why, "it was not looked at"), Settle: settle}
}

// reachDoubt is one about a member whose address leads nowhere, or to somebody
// who can't be asked.
func (b *builder) reachDoubt(name string, e Endpoint) []Doubt {
	d := Doubt{Member: name, Fact: "whether it is alive", State: FactUnknown, Why: strings.TrimSpace(e.URL + ": " + string(e.Reach))}
	if e.URL == "" {
		d.Why = orWord(string(e.Reach), string(ReachUnasked))
	}
	if e.Detail != "" {
		d.Why += " (" + e.Detail + ")"
	}
	switch e.Reach {
	case ReachTLSFailed:
		d.Fact, d.Settle = "who answers there", "name the certificates that it takes: tls { requorum { ca cert key } }"
	case ReachAuth:
		d.Fact, d.Settle = "how it stands", "give a user with the role root: auth { username password }"
	case ReachBadName:
		d.Settle = "correct the name in the file, or have it resolve where requorum runs"
	case ReachWrongService:
		d.Fact, d.Settle = "who answers there", "correct the URL in the file, or stop what listens there"
	case ReachHangs:
		d.Fact, d.Settle = "why it does not answer", "look at its log; etcd without a quorum accepts connections and says nothing"
	default:
		d.Settle = "bring its network up, or run requorum where it can be reached"
		if !b.quorum.Has() {
			d.Settle += fmt.Sprintf("; where its host is gone for good: --accept=host-destroyed:%s", name)
		}
	}
	return []Doubt{d}
}
