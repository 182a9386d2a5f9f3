package planner

import (
	"fmt"
	"slices"
	"strings"
)

// A new identity is shown to nobody before it was read back whole (S17): its members
// are started a first time with their client listeners closed, verified, and only then
// started for their clients. Peers reach each other meanwhile, so that the cluster
// forms. Once a client writes, going back is itself data loss.

// ClosedSocket is the socket, in the folder of what requorum keeps about a member and
// where its etcd runs, at which a member with closed client listeners answers. etcd
// 3.4 wants an address of the form host:port, also of a socket.
const ClosedSocket = "closed:1"

// ClosedURL is where a member whose folder is base is asked as long as its client
// listeners are closed: unix://MACHINE/PATH, on this machine without a MACHINE. Under a
// unit etcd runs as a user who may not write to base; systemd makes a folder for it.
func ClosedURL(p Place, base string) string {
	if p.Unit != "" {
		base = "/run/" + unitRunDir(p.Unit)
	}
	return "unix://" + p.Host + base + "/" + ClosedSocket
}

// unitRunDir is the folder below /run that the unit has as long as it runs closed.
func unitRunDir(unit string) string { return "requorum-" + strings.TrimSuffix(unit, ".service") }

// Closed reports whether an etcd with these arguments answers only who may open a
// socket in requorum's own folder.
func Closed(args []string) bool {
	return strings.HasPrefix(argValue(args, "listen-client-urls"), "unix://")
}

// closedArgs are a member's arguments with its client listeners closed. What it
// advertises stays: the member list has the right addresses from the beginning. The
// gateway is left out, for that of 3.5 does not find a socket.
func closedArgs(args []string) []string {
	out := make([]string, 0, len(args)+1)
	for _, a := range args {
		switch {
		case strings.HasPrefix(a, "--listen-client-urls="):
			a = "--listen-client-urls=unix://" + ClosedSocket
		case strings.HasPrefix(a, "--enable-grpc-gateway"):
			continue
		}
		out = append(out, a)
	}
	return append(out, "--enable-grpc-gateway=false")
}

// closed is m with its client listeners closed.
func (s StartMember) closed(base string) StartMember {
	s.Args, s.ClientURL = closedArgs(s.Args), ClosedURL(s.Place, base)
	return s
}

// base is the folder of what requorum keeps about the member.
func (m *member) base() string { return orWord(m.seen.Base, m.spec.DataDir+".requorum") }

// closed reports whether the member runs, or last ran, with closed client listeners.
func (m *member) closed() bool {
	return m.seen.Service.Known() && m.seen.Service.Value.Foreign == nil && Closed(m.seen.Service.Value.Args)
}

// opened reports whether the member has run for clients: what it holds may have been
// acknowledged to somebody.
func (m *member) opened() bool {
	switch {
	case m.cond == condServing:
		return true
	case m.closed():
		return false
	}
	return m.cond == condRunning || m.ran() && !m.inPlaceNew()
}

// inPlaceNew reports whether the member was recovered in place and never ran since.
func (m *member) inPlaceNew() bool {
	p := m.provenance()
	return p != nil && p.Kind == ProvenanceForceNew && m.hasData() && !m.data().EverRan
}

// unopened reports whether members run, or ran, under token for nobody but requorum,
// and none of them for clients: the verification is still to come, or to be repeated.
func (b *builder) unopened(token string) bool {
	some := false
	for _, m := range b.members {
		if !m.under(token) || !m.hasData() {
			continue
		}
		if m.opened() {
			return false
		}
		some = some || m.closed()
	}
	return some
}

// onlyClosedRun reports whether whoever runs has no client listener: its silence says
// nothing.
func (b *builder) onlyClosedRun() bool {
	running := with(b.members, condRunning)
	return len(running) > 0 && !slices.ContainsFunc(running, func(m *member) bool { return !m.closed() })
}

// awaitsOpening reports whether the member's settings are those of a cluster that was
// not shown to clients yet: they differ from the file's, and are to.
func (b *builder) awaitsOpening(m *member) bool {
	return m.closed() && !slices.ContainsFunc(b.members, (*member).opened)
}

// opening is a new identity on its way from its disks to its clients.
type opening struct {
	clusterID string
	voters    int
	members   []*member
	start     func(*member) StartMember // for clients
	revision  int64                     // that must be there: exactly, where keys are known
	keys      int                       // -1 for not known
	why       string
	vacated   bool // whatever ran there, earlier steps have stopped and fenced it
}

// inPlaceUnopened is the one voter that a recovery in place left, where it has not
// served clients yet; nil for none.
func (b *builder) inPlaceUnopened() *member {
	if b.listedVoters() != 1 {
		return nil
	}
	for _, m := range b.intact() {
		p := m.provenance()
		if p != nil && p.Kind == ProvenanceForceNew && m.hasData() && !m.opened() {
			return m
		}
	}
	return nil
}

// openInPlace is the plan of a recovery in place that was begun and not shown to
// clients yet.
func (b *builder) openInPlace(m *member) *Plan {
	if !m.processRuns() {
		if r := b.checkStartable([]*member{m}); r != nil {
			return b.refuse(r)
		}
	}
	if r := b.checkVacantInPlace(); r != nil {
		r.Remedy = r.Remedy[1:] // it has its identity already
		return b.refuse(r)
	}
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("a recovery in place was begun and interrupted: start %s, as a cluster of one that grows again", m.spec.Name)
	b.pass(RouteInSync, "%s does not serve clients yet", m.spec.Name)
	b.plan.Loss = Loss{Kind: LossUnknown, Text: "Lost: what the recovery that was begun gave up, and nothing more: no upper bound is known."}
	b.openSteps(b.inPlaceIdentity(m, m.data()))
	for _, x := range b.members {
		if x != m {
			b.note(NoteRemaining, x.spec.Pos, "%s: %s; with a quorum back, planning again will deal with it", x.spec.Name, x.dataText())
		}
	}
	b.lines(func(x *member) string {
		if x == m {
			return "start"
		}
		return ""
	})
	b.noteReboot()
	return b.plan
}

// openSteps starts the members closed, verifies them, and starts them for clients. Where
// one of them has served clients already, what is left is to start the others.
func (b *builder) openSteps(o opening) {
	idle := o.members
	if !o.vacated {
		idle = slices.DeleteFunc(slices.Clone(o.members), (*member).processRuns)
	}
	if !o.vacated && slices.ContainsFunc(o.members, (*member).opened) {
		if len(idle) > 0 {
			b.appendStart(o.starts(idle, false), Quorum{Voters: o.voters, Healthy: len(o.members)}, Reason{Fact: o.why, Pos: b.cluster.Pos}, "")
		}
		b.verifyStep(o.members, o.clusterID, o.revision, true)
		return
	}
	if len(idle) > 0 {
		b.startClosed(o, idle)
	}
	b.verifyClosed(o)
	b.stopClosed(o)
	b.appendStart(o.starts(o.members, false), Quorum{Voters: o.voters, Healthy: len(o.members)}, Reason{Fact: "they are verified: their clients may come back", Pos: b.cluster.Pos}, "")
	b.last().Title = "start for clients"
	b.verifyStep(o.members, o.clusterID, o.revision, false)
	s := b.last()
	a := s.Action.(Verify)
	a.Lease = true
	s.Action, s.Title = a, "verify, serving"
	s.Reason.Fact = "what was verified has to be what is served"
	s.Wait = "one cluster ID, one leader; linearizable reads, and a lease that is granted and revoked"
	s.Undo = "leaves nothing behind"
	s.Equivalent = []string{s.Equivalent[0][:strings.LastIndex(s.Equivalent[0], " endpoint")] + " endpoint health"}
}

func (b *builder) last() *Step { return &b.plan.Steps[len(b.plan.Steps)-1] }

func (o opening) starts(ms []*member, closed bool) Start {
	a := Start{Voters: o.voters, Closed: closed}
	for _, m := range ms {
		s := o.start(m)
		if closed {
			s = s.closed(m.base())
		}
		a.Members = append(a.Members, s)
	}
	return a
}

func (b *builder) startClosed(o opening, ms []*member) {
	b.appendStart(o.starts(ms, true), Quorum{Voters: o.voters}, Reason{Fact: o.why + "; nobody is served before it is verified", Pos: b.cluster.Pos}, "requorum stop: nobody was served")
	s := b.last()
	s.Title, s.Wait = "start, closed", "a majority follows one leader; clients find no listener yet"
}

func (b *builder) verifyClosed(o opening) {
	a := Verify{ClusterID: o.clusterID, Revision: o.revision, Closed: &ClosedCheck{Keys: o.keys}}
	var by []string
	for _, m := range o.members {
		url := ClosedURL(m.place(), m.base())
		a.Members = append(a.Members, m.spec.Name)
		a.Closed.URLs = append(a.Closed.URLs, url)
		a.Closed.MemberIDs = append(a.Closed.MemberIDs, o.start(m).MemberID)
		by = append(by, "etcdctl --endpoints="+url+" endpoint hashkv")
	}
	for _, m := range initial(b.members) {
		if id := o.start(m).MemberID; o.voters == len(initial(b.members)) && !contains(o.members, m) {
			a.Closed.MemberIDs = append(a.Closed.MemberIDs, id)
		}
	}
	what := fmt.Sprintf("revision %d, or a later one", o.revision)
	if o.keys >= 0 {
		what = fmt.Sprintf("revision %d and %d keys", o.revision, o.keys)
	}
	b.step(Step{
		Action: a, Title: "verify, closed",
		Reason: Reason{Fact: what + ", the same on every member, before a client can write", Pos: b.cluster.Pos},
		Undo:   "changes nothing",
		Wait:   "one cluster ID, one leader, the members planned, equal HashKV", TimeoutSeconds: 240 + copySeconds(b.largest(o.members), len(o.members)),
		Equivalent: by,
	}, b.quorum)
}

// largest is the size of the largest database among those of ms and the snapshot that
// they are restored from.
func (b *builder) largest(ms []*member) int64 {
	var size int64
	for _, m := range ms {
		size = max(size, m.data().DBSize, m.survivor().DBSize)
	}
	if s := b.obs.Snapshot; s != nil {
		size = max(size, s.Size)
	}
	return size
}

func (b *builder) stopClosed(o opening) {
	a := Stop{Cluster: b.cluster.Name}
	var by []string
	for _, m := range o.members {
		a.Members = append(a.Members, StopMember{Place: m.place()})
		by = append(by, "kill -TERM $(pgrep -f -- --data-dir="+m.spec.DataDir+")")
	}
	b.step(Step{
		Action: a, Title: "stop, to open",
		Reason: Reason{Fact: "etcd opens its client listeners only when it starts", Pos: b.cluster.Pos},
		Undo:   "yes: nobody is served", Wait: "the processes have ended", TimeoutSeconds: 90,
		Equivalent: by,
	}, b.quorum)
}
