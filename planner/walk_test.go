package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// TestWalk sets up clusters of one to five members in every state in which they
// have a quorum, beside files that keep some, drop some, add some and move some, and
// carries each plan out on a model of etcd: its rules for changing members, who can
// dial whom, what lies in each place. The quorum is never lost without consent, no
// step is one that etcd refuses, and the end is what the file says, or a refusal.
func TestWalk(t *testing.T) {
	bad, times, refused := map[string][]string{}, map[string]int{}, map[Code]int{}
	walks, refusals := 0, 0
	eachWalk(func(w *world, text string) {
		walks++
		w.file.Policy.MinFaultTolerance = walks % 3 % 2
		w.kill = walks % 11 // after so many steps of the first plan that changes the list
		why, code := w.walk()
		if code != "" {
			refusals++
			refused[code]++
		}
		if why != "" {
			if times[why]++; times[why] <= 2 {
				bad[why] = append(bad[why], text+"\n    "+strings.Join(w.did, "\n    "))
			}
		}
	})
	for why, examples := range bad {
		t.Run(why, func(t *testing.T) { t.Errorf("%d times, as in\n%s", times[why], strings.Join(examples, "\n")) })
	}
	t.Logf("%d walks, %d end in a refusal: %v", walks, refusals, refused)
}

// eachWalk calls f with worlds and what they are.
func eachWalk(f func(*world, string)) {
	states := []string{"up", "lost", "damaged", "down", "unstarted"}
	n := 0
	for size := 1; size <= 5; size++ {
		for code := range pow(len(states), size) {
			var have []string
			for i, c := 0, code; i < size; i, c = i+1, c/len(states) {
				have = append(have, states[c%len(states)])
			}
			for keep := range 1 << size {
				for extra := range 3 {
					for _, learns := range []int{-1, 0, size - 1, size} { // whom the file has as a learner
						for _, moved := range []string{"none", "first", "all"} {
							n++
							if size >= 4 && n%(7+100*(size-4)) != 0 {
								continue
							}
							w := newWorld(have, n%3 == 0)
							if !w.quorum() || keep == 0 && extra == 0 {
								continue
							}
							w.fileOf(keep, extra, learns, moved)
							if w.file.Voters() == 0 || !w.seen() {
								continue
							}
							f(w, fmt.Sprintf("%v, learner sits: %v, keep %05b, %d more, learner %d, moved %s", have, n%3 == 0, keep, extra, learns, moved))
						}
					}
				}
			}
		}
	}
}

func pow(b, e int) int {
	n := 1
	for range e {
		n *= b
	}
	return n
}

// world is a cluster, as far as changing it goes.
type world struct {
	cid    string
	list   []*listed
	places map[string]*place
	lead   string // an ID
	file   *spec.Cluster
	did    []string
	next   int
	kill   int
}

type listed struct {
	id, name string
	urls     []string
	client   string
	learner  bool
	started  bool
}

type place struct {
	id      string // whose data lies here; "" for nobody's
	problem string
	ever    bool
	runs    bool
	listens []string // peer URLs
	args    []string
}

func numbered(i int) spec.Member {
	peer, client := fmt.Sprintf("http://127.0.0.1:238%d", i), fmt.Sprintf("http://127.0.0.1:237%d", i)
	return spec.Member{
		Name: fmt.Sprintf("m%d", i), DataDir: fmt.Sprintf("/data/m%d", i),
		PeerURLs: []string{peer}, ListenPeerURLs: []string{peer}, ClientURLs: []string{client}, ListenClientURLs: []string{client},
	}
}

// newWorld has a member in each of these states; with sits, the last that is up is
// a learner.
func newWorld(have []string, sits bool) *world {
	w := &world{cid: "c1", places: map[string]*place{}}
	old := &spec.Cluster{Name: "demo"}
	for i, state := range have {
		m := numbered(i + 1)
		l := &listed{id: fmt.Sprintf("a%d", i+1), name: m.Name, urls: m.PeerURLs, client: m.ClientURLs[0], started: true}
		p := &place{id: l.id, ever: true, args: etcdArgs(old, m, "", "existing")}
		switch state {
		case "up":
			p.runs, p.listens = true, m.PeerURLs
		case "lost":
			p.id = ""
		case "damaged":
			p.problem = "walpb: crc mismatch"
		case "unstarted":
			*p = place{}
			l.started = false
		}
		w.list = append(w.list, l)
		w.places[m.Name] = p
	}
	for i := len(have) - 1; sits && i > 0; i-- {
		if have[i] == "up" {
			w.list[i].learner = true
			break
		}
	}
	w.elect("")
	return w
}

// fileOf keeps those of the members that are in the set keep, adds some and moves
// the peer URLs of some.
func (w *world) fileOf(keep, extra, learns int, moved string) {
	c := &spec.Cluster{Name: "demo", Pos: spec.Position{File: "demo.hcl", Line: 1}}
	n := len(w.list)
	for i := range n + extra {
		if i < n && keep&(1<<i) == 0 {
			continue
		}
		m := numbered(i + 1)
		m.Learner = i == learns
		if i < n && (moved == "all" || moved == "first" && len(c.Members) == 0) {
			m.PeerURLs = []string{fmt.Sprintf("http://127.0.0.1:248%d", i+1)}
			m.ListenPeerURLs = m.PeerURLs
		}
		c.Members = append(c.Members, m)
	}
	w.file = c
}

// seen reports whether a voter of the file is up, so that the quorum can be seen.
func (w *world) seen() bool {
	return slices.ContainsFunc(w.list, func(l *listed) bool {
		_, ok := w.file.Member(l.name)
		return ok && !l.learner && w.runs(l) != nil
	})
}

func (w *world) of(id string) *listed {
	for _, l := range w.list {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (w *world) runs(l *listed) *place {
	for _, p := range w.places {
		if p.runs && p.id == l.id {
			return p
		}
	}
	return nil
}

// dials reports whether one of them finds the other where the list says.
func (w *world) dials(a, b *listed) bool {
	pa, pb := w.runs(a), w.runs(b)
	finds := func(l *listed, p *place) bool {
		return slices.ContainsFunc(l.urls, func(u string) bool { return slices.Contains(p.listens, u) })
	}
	return pa != nil && pb != nil && (finds(a, pa) || finds(b, pb))
}

// follow counts the voters that can follow l.
func (w *world) follow(l *listed) int {
	n := 0
	for _, o := range w.list {
		if !o.learner && w.runs(o) != nil && (o == l || w.dials(l, o)) {
			n++
		}
	}
	return n
}

func (w *world) voters() int {
	n := 0
	for _, l := range w.list {
		if !l.learner {
			n++
		}
	}
	return n
}

func (w *world) quorum() bool {
	return slices.ContainsFunc(w.list, func(l *listed) bool {
		return !l.learner && w.runs(l) != nil && w.follow(l) >= w.voters()/2+1
	})
}

// healthy counts the voters that are together, with the leader or one that could be.
func (w *world) healthy() int {
	if l := w.of(w.lead); l != nil && w.runs(l) != nil {
		return w.follow(l)
	}
	n := 0
	for _, l := range w.list {
		if !l.learner && w.runs(l) != nil {
			n = max(n, w.follow(l))
		}
	}
	return n
}

func (w *world) tolerance() int { return w.healthy() - (w.voters()/2 + 1) }

// elect has a leader again, where one can be had; never the one that is to go.
func (w *world) elect(but string) {
	if l := w.of(w.lead); l != nil && w.lead != but && !l.learner && w.runs(l) != nil && w.follow(l) >= w.voters()/2+1 {
		return
	}
	w.lead = ""
	for _, l := range w.list {
		if l.id != but && !l.learner && w.runs(l) != nil && w.follow(l) >= w.voters()/2+1 {
			w.lead = l.id
			return
		}
	}
}

// walk plans and carries out until the file is met.
func (w *world) walk() (broken string, refused Code) {
	killed := false
	for range 5 {
		p := New(w.observe())
		if p.Refusal != nil {
			w.did = append(w.did, fmt.Sprintf("refused: %s: %s %s", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail))
			if p.Refusal.Detail == "" || len(p.Refusal.Remedy) == 0 {
				return "a refusal without a remedy", p.Refusal.Code
			}
			switch p.Refusal.Code {
			case CodeLearnerSlot, CodeTolerance, CodeForeignCluster, CodePortTaken, CodePrevented:
				return "", p.Refusal.Code
			}
			return "is refused: " + string(p.Refusal.Code), p.Refusal.Code
		}
		w.did = append(w.did, fmt.Sprintf("%s: %s (needs %v)", p.Route, p.Headline, p.Needs))
		if p.Route == RouteInSync {
			return w.differs(), ""
		}
		if p.Route != RouteStart && p.Route != RouteReconfigure {
			return "a cluster with a quorum gets the route " + string(p.Route), ""
		}
		downtime := slices.ContainsFunc(p.Needs, func(n Need) bool { return n.Consent == ConsentDowntime })
		begin := w.tolerance()
		for i, s := range p.Steps {
			if p.Route == RouteReconfigure && !killed && w.kill > 0 && i == w.kill {
				killed = true
				w.did = append(w.did, "  KILLED")
				break
			}
			had := w.quorum()
			if why := w.do(s); why != "" {
				return why, ""
			}
			w.elect("")
			w.did = append(w.did, fmt.Sprintf("  %s %v: %d of %d", s.Kind, s.Target, w.healthy(), w.voters()))
			switch {
			case had && !w.quorum() && !downtime:
				return "the quorum is lost without consent by " + s.Kind, ""
			case had && w.tolerance() < min(w.file.Policy.MinFaultTolerance, begin) && !downtime && s.Kind != "stop" && s.Kind != "update-member" && s.Kind != "move-leader":
				return "the tolerance falls by " + s.Kind, ""
			case s.After.Voters != w.voters():
				return "counts the voters wrong after " + s.Kind, ""
			case s.After.Healthy != w.healthy() && s.Kind != "update-member" && s.Kind != "move-leader":
				return "counts the healthy voters wrong after " + s.Kind, ""
			}
		}
		if p.Route == RouteReconfigure && !strings.HasSuffix(w.did[len(w.did)-1], "KILLED") {
			if why := w.differs(); why != "" {
				return "ends otherwise than the file says: " + why, ""
			}
		}
	}
	return "plans without an end", ""
}

// differs says how the cluster is not as the file says; "" if it is.
func (w *world) differs() string {
	if len(w.list) != len(w.file.Members) {
		return "another number of members"
	}
	for _, m := range w.file.Members {
		i := slices.IndexFunc(w.list, func(l *listed) bool { return l.name == m.Name })
		switch {
		case i < 0:
			return "a member is not listed"
		case w.list[i].learner != m.Learner:
			return "another role"
		case !slices.Equal(w.list[i].urls, m.PeerURLs):
			return "other peer URLs"
		case w.runs(w.list[i]) == nil:
			return "a member does not run"
		case !slices.Equal(w.runs(w.list[i]).listens, m.ListenPeerURLs):
			return "a member listens elsewhere"
		}
	}
	return ""
}

// do carries a step out as etcd and the hosts would; it says why they would not.
func (w *world) do(s Step) string {
	switch a := s.Action.(type) {
	case Remove:
		return w.remove(a)
	case Add:
		return w.add(a)
	case Update:
		l := w.of(a.MemberID)
		switch {
		case l == nil:
			return "updates a member that is not listed"
		case l.learner:
			return "updates a learner, which older servers promote by it"
		case !w.asks(a.Endpoints):
			return "an update that asks nobody who answers"
		}
		l.urls = a.PeerURLs
	case Promote:
		i := slices.IndexFunc(w.list, func(l *listed) bool { return slices.Equal(l.urls, a.PeerURLs) })
		switch {
		case i < 0 || !w.list[i].learner:
			return "promotes what is no learner"
		case w.runs(w.list[i]) == nil || w.list[i].client != a.ClientURL:
			return "promotes what does not run"
		case !w.asks(a.Endpoints):
			return "a promotion that asks nobody who answers"
		}
		w.list[i].learner = false
	case MoveLeader:
		i := slices.IndexFunc(w.list, func(l *listed) bool { return l.client == a.ToURL })
		if a.FromID != w.lead {
			break // it does not lead any more
		}
		if i < 0 || w.list[i].learner || w.runs(w.list[i]) == nil || w.list[i].id == w.lead {
			return "a move of the lead that can't be done"
		}
		w.lead = w.list[i].id
	case Join:
		return w.join(a)
	case Start:
		return w.start(a)
	case Stop:
		for _, m := range a.Members {
			p := w.places[m.Name]
			if l := w.of(p.id); l != nil && l.id == w.lead && w.healthy() > 1 {
				return "stops the leader that has a successor"
			}
			p.runs = false
		}
	case SetAside:
		p := w.places[a.Name]
		switch {
		case p == nil || p.id == "":
			return "sets aside what is not there"
		case p.id != a.Over.MemberID || w.cid != a.Over.ClusterID:
			return "sets aside what was not seen"
		case p.runs:
			return "sets aside under a process that runs"
		case w.of(p.id) != nil:
			return "sets aside the data of a listed member (S19)"
		}
		*p = place{ever: true}
	case Claim, Verify, Save, Adopt:
	default:
		return "a step that does not belong here: " + s.Kind
	}
	return ""
}

// asks reports whether at least one endpoint, and only those of voters that serve,
// are asked.
func (w *world) asks(endpoints []string) bool {
	for _, e := range endpoints {
		if !slices.ContainsFunc(w.list, func(l *listed) bool { return !l.learner && l.client == e && w.runs(l) != nil }) {
			return false
		}
	}
	return len(endpoints) > 0
}

func (w *world) remove(a Remove) string {
	l := w.of(a.MemberID)
	switch {
	case l == nil:
		return "removes a member that is not listed"
	case len(w.list) == 1 || !l.learner && w.voters() == 1:
		return "removes the last member"
	case !w.asks(a.Endpoints) || slices.Contains(a.Endpoints, l.client) && w.runs(l) != nil:
		return "a removal that asks nobody who stays"
	case !l.learner && w.runs(l) != nil && w.healthy()-1 < 1+(w.voters()-1)/2:
		return "a removal that etcd refuses"
	}
	w.list = slices.DeleteFunc(w.list, func(o *listed) bool { return o == l })
	if p := w.runs(l); p != nil {
		p.runs = false // it learns of it, and exits
	}
	w.elect("")
	return ""
}

func (w *world) add(a Add) string {
	for _, l := range w.list {
		switch {
		case !l.started:
			return "adds a member while another has not started"
		case l.learner:
			return "adds a learner while another has the slot"
		case slices.ContainsFunc(l.urls, func(u string) bool { return slices.Contains(a.PeerURLs, u) }):
			return "adds a member with another's peer URL"
		}
	}
	switch n := w.voters(); {
	case n > 1 && w.healthy() < (n+1)/2+1:
		return "an addition that etcd refuses"
	case !w.asks(a.Endpoints):
		return "an addition that asks nobody who answers"
	}
	w.next++
	w.list = append(w.list, &listed{id: fmt.Sprintf("b%d", w.next), urls: a.PeerURLs, learner: true})
	return ""
}

func (w *world) join(a Join) string {
	p := w.places[a.Name]
	if p == nil {
		p = &place{}
		w.places[a.Name] = p
	}
	i := slices.IndexFunc(w.list, func(l *listed) bool { return !l.started && slices.Equal(l.urls, a.PeerURLs) })
	switch {
	case p.runs:
		return "starts a new member where something runs"
	case p.id != "":
		return "starts a new member over data"
	case i < 0:
		return "starts a member that is not listed"
	}
	l := w.list[i]
	*p = place{id: l.id, ever: true, runs: true, listens: listens(a.Args), args: a.Args}
	l.name, l.client, l.started = a.Name, a.ClientURL, true
	if why := w.reached(l); why != "" {
		return why
	}
	return ""
}

// reached: a member that starts has to be found by, or to find, those that follow
// the leader.
func (w *world) reached(l *listed) string {
	if lead := w.of(w.lead); lead != nil && lead != l && !w.dials(lead, l) {
		return "a member starts that nobody finds"
	}
	return ""
}

func (w *world) start(a Start) string {
	for _, m := range a.Members {
		p := w.places[m.Name]
		if p != nil && p.id == "" && m.Bootstrap {
			if l := w.of(m.MemberID); l != nil && !l.started {
				p.id, l.started, l.name, l.client = l.id, true, m.Name, m.ClientURL
			}
		}
		switch {
		case p == nil || p.id != m.MemberID || w.cid != m.ClusterID:
			return "starts on other data than it says"
		case p.problem != "":
			return "starts on damaged data"
		case p.runs:
			return "starts what runs"
		}
		p.runs, p.listens, p.args = true, listens(m.Args), m.Args
	}
	w.elect("")
	for _, m := range a.Members {
		if l := w.of(m.MemberID); l != nil {
			if why := w.reached(l); why != "" {
				return why
			}
		}
	}
	return ""
}

func listens(args []string) []string {
	for _, a := range args {
		if urls, ok := strings.CutPrefix(a, "--listen-peer-urls="); ok {
			return strings.Split(urls, ",")
		}
	}
	return nil
}

// observe sees the world as the executor would.
func (w *world) observe() Input {
	in := Input{Cluster: w.file, Token: token, Now: "2026-01-02T03:04:05Z", By: "ops@here"}
	in.Observation = Observation{Members: map[string]MemberObservation{}, KV: Unknown[KVComparison]("not asked")}
	var list []ListedMember
	for _, l := range w.list {
		x := ListedMember{ID: l.id, PeerURLs: l.urls, Learner: l.learner}
		if l.started {
			x.Name, x.ClientURLs = l.name, []string{l.client}
		}
		list = append(list, x)
	}
	for i := range 9 { // the journal knows all that there ever were
		in.Observation.JournalMembers = append(in.Observation.JournalMembers, fmt.Sprintf("m%d", i))
	}
	ours := map[string]bool{}
	for _, m := range w.file.Members {
		p := w.places[m.Name]
		if p == nil {
			p = &place{}
		}
		in.Observation.Members[m.Name] = w.look(m, p, list)
		for _, l := range w.list {
			if l.id == p.id || slices.Equal(l.urls, m.PeerURLs) {
				ours[l.id] = true
			}
		}
	}
	for i, l := range w.list {
		if ours[l.id] {
			continue
		}
		o := OtherMember{ListedMember: list[i], Client: Endpoint{URL: l.client, Reach: ReachRefused}, Peer: PeerEndpoint{Reach: ReachRefused}}
		if w.runs(l) != nil {
			o.Client, o.Peer.Reach = w.client(l, list), ReachServing
		}
		in.Observation.Others = append(in.Observation.Others, o)
	}
	return in
}

func (w *world) client(l *listed, list []ListedMember) Endpoint {
	return Endpoint{
		URL: l.client, Reach: ReachServing, ClusterID: w.cid, MemberID: l.id, LeaderID: w.lead, Version: "3.7.3", Revision: 1204,
		Learner: l.learner, Linearizable: Known(!l.learner && w.lead != ""), Members: Known(list),
	}
}

func (w *world) look(m spec.Member, p *place, list []ListedMember) MemberObservation {
	d := DataDir{Path: m.DataDir, State: DirAbsent, EverRan: p.ever}
	if p.ever {
		d.Evidence = []string{"requorum started a member here"}
	}
	if p.id != "" {
		d = DataDir{Path: m.DataDir, State: DirPresent, ClusterID: w.cid, MemberID: p.id, LastTerm: 3, LastIndex: 1200, Commit: 1200, EverRan: true, Members: list, Problem: p.problem, StorageVersion: "3.7.0", Log: logTo(1200)}
	}
	o := MemberObservation{
		Client: Endpoint{URL: m.ClientURLs[0], Reach: ReachRefused}, Peer: PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused},
		Service: Known(Service{State: ServiceNone}), Binary: Known(Binary{Version: "3.7.3"}), Base: m.DataDir + ".requorum",
	}
	if p.runs {
		d.HeldBy = 4711
		o.Service = Known(Service{State: ServiceRunning, PID: 4711, SupervisorPID: 4710, UpSeconds: 3600, Binary: "requorum", Args: p.args})
		if l := w.of(p.id); l != nil {
			o.Client = w.client(l, list)
		}
		if slices.Equal(p.listens, m.PeerURLs) {
			o.Peer.Reach, o.Peer.ClusterID = ReachServing, w.cid
		}
	}
	o.Data = Known(d)
	return o
}
