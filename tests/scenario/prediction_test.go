package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// What a plan promises is what comes true: every action is really carried out, step
// by step along real plans, and what is then really observed is what Predict said of
// the observation before. An action that no story has is a failure: a later one comes
// with its own.
func TestPredictionsComeTrue(t *testing.T) {
	t.Parallel()
	compared := &tally{times: map[string]int{}}
	stories := []struct {
		name string
		tell func(*testing.T, *tally)
	}{
		{"grow, move, replace", growAndReplace},
		{"shrink, stop, adopt", shrinkAndAdopt},
		{"recover", recoverAsNew},
		{"recover in place", recoverOnTheSpot},
		{"restore", restoreAll},
		{"unfence", fenceAndBack},
		{"without a quorum", startTooFew},
		{"other versions", otherVersions},
	}
	t.Run("stories", func(t *testing.T) {
		for _, s := range stories {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.tell(t, compared)
				compared.Lock()
				compared.stories++
				compared.Unlock()
			})
		}
	})
	for _, a := range planner.Actions() {
		t.Logf("%-16s compared %d times", a.Kind(), compared.times[a.Kind()])
		if compared.times[a.Kind()] == 0 && compared.stories == len(stories) { // not where -run took some of them
			t.Errorf("%s was never compared with what really happens: give it a story here", a.Kind())
		}
	}
}

type tally struct {
	sync.Mutex
	times   map[string]int
	stories int // told to the end
}

// The stories.

func growAndReplace(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	all := s.c.Members
	s.c.Members = all[:1]
	s.comesTrue("claim start verify")
	s.c.Members = all[:3]
	s.comesTrue("add-learner join promote add-learner join promote verify")

	ports := s.e.Ports(1)
	s.c.Members = slices.Clone(all)
	s.c.Members[0].Peer = ports.URL(0)
	s.comesTrue("update-member move-leader stop start verify")

	s.comesTrueStop([]string{"m3"})
	s.damage(2)
	s.comesTrue("remove-member set-aside add-learner join promote verify")
}

// damage makes a stopped member's log unreadable.
func (s *told) damage(i int) {
	s.t.Helper()
	m := s.c.Members[i]
	dir := m.WALDir
	if dir == "" {
		dir = filepath.Join(m.DataDir, "member", "wal")
	}
	wals, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(wals) == 0 {
		s.t.Fatal("no log to be damaged", err)
	}
	f, err := os.OpenFile(wals[0], os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("this is no log any more, from here on"), 600); err != nil {
		s.t.Fatal(err)
	}
}

// comesTrueStop carries out requorum stop.
func (s *told) comesTrueStop(only []string) {
	s.t.Helper()
	in := s.look()
	p := planner.NewStop(in, only)
	s.carryOut(in, p, len(p.Steps))
}

func shrinkAndAdopt(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	s.c.Write()
	s.e.ByHand(s.c.Members)
	s.comesTrue("adopt")
	if err := syscall.Kill(s.c.Supervisor(s.c.Members[1]).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.comesTrue("adopt") // the orphan
	in, p := s.without(2, "remove-member")
	s.carryOut(in, p, len(p.Steps))
	s.comesTrueStop(nil)
	s.comesTrue("start verify")
}

// without takes a member out of the file: its plan begins with this step.
func (s *told) without(i int, first string) (planner.Input, *planner.Plan) {
	s.t.Helper()
	s.c.Members = slices.Delete(slices.Clone(s.c.Members), i, i+1)
	in := s.look()
	p := planner.New(in)
	if len(p.Steps) == 0 || !slices.ContainsFunc(p.Steps, func(x planner.Step) bool { return x.Kind == first }) {
		s.t.Fatalf("%+v: %s", p.Refusal, p.Headline)
	}
	return in, p
}

// oneLeft has a cluster of three of which one survives, still running.
func oneLeft(t *testing.T, compared *tally) *told {
	s := tell(t, compared, 3)
	s.c.Write()
	hs := s.e.ByHand(s.c.Members)
	harness.Fill(t, s.c.Endpoints(), 50)
	s.remember(s.look().Cluster, harness.ClusterID(t, s.c.Endpoints()))
	for _, h := range hs[1:] {
		h.Signal(syscall.SIGKILL)
		h.AwaitEnd()
	}
	return s
}

const recoverAll = "save-snapshot fence recover restore trial install start verify stop start verify"

func recoverAsNew(t *testing.T, compared *tally) {
	s := oneLeft(t, compared)
	s.c.DropData(s.c.Members[1:]...)
	s.comesTrue(recoverAll)
}

func recoverOnTheSpot(t *testing.T, compared *tally) {
	s := oneLeft(t, compared)
	s.c.DropData(s.c.Members[1:]...)
	s.c.Members = s.c.Members[:2] // one to add is enough
	s.c.More = "  recover {\n    from = \"m1\"\n    in_place = true\n  }\n"
	s.comesTrue("save-snapshot fence recover trial install start verify stop start verify add-learner join promote verify")
}

// restoreAll restores a snapshot that has an alarm of a member that is no more, to
// members of which one has its log elsewhere.
func restoreAll(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	old := s.e.Server("old")
	harness.Fill(t, []string{old.Client}, 50)
	raiseAlarm(t, old.Client)
	s.c.Snapshot = harness.Snapshot(t, old.Client, s.e.Path("snapshot.db"))
	s.e.StopServer(old)
	s.c.Members[1].WALDir = s.e.Path("wal", "m2")
	if n := s.look().Observation.Snapshot.Alarms; n != 1 {
		t.Fatalf("the snapshot has %d alarms", n)
	}
	s.comesTrue("restore install start verify stop start verify")
	s.comesTrueStop([]string{"m2"})
	s.damage(1)
	s.comesTrue("remove-member set-aside add-learner join promote verify")
}

func raiseAlarm(t *testing.T, endpoint string) {
	t.Helper()
	cli, err := harness.Dial(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	req := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: 7, Alarm: etcdserverpb.AlarmType_NOSPACE}
	if _, err := etcdserverpb.NewMaintenanceClient(cli.ActiveConnection()).Alarm(harness.Context(t), req); err != nil {
		t.Fatal(err)
	}
}

// fenceAndBack: a recovery has fenced what was left when the others' disks turn up.
func fenceAndBack(t *testing.T, compared *tally) {
	s := oneLeft(t, compared)
	aside := func(back bool) {
		for _, m := range s.c.Members[1:] {
			from, to := m.DataDir, m.DataDir+".elsewhere"
			if back {
				from, to = to, from
			}
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	aside(false)
	in, p := s.plan(recoverAll)
	s.carryOut(in, p, 3)
	aside(true)
	s.comesTrue("unfence start verify")
}

// startTooFew: members that are started without a quorum are mute until there is one;
// one that was removed while it was down is told so, and ends again and again.
func startTooFew(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	s.comesTrue("claim start verify")
	s.comesTrueStop([]string{"m3"})
	s.comesTrueStop([]string{"m2"}) // m1 serves on, without a leader
	s.comesTrueStop([]string{"m1"})
	_, p := s.plan("start verify")
	all := p.Steps[0].Action.(planner.Start)
	for i := range 2 {
		s.started(all.Members[i])
	}
	m3 := s.c.Members[2]
	in, p := s.without(2, "remove-member")
	s.carryOut(in, p, 1)
	s.c.Members = append(s.c.Members, m3)
	s.started(all.Members[2])
	s.comesTrue("stop set-aside add-learner join promote verify")
}

// started starts a member, and does not wait until it serves, as an apply would.
func (s *told) started(m planner.StartMember) {
	s.t.Helper()
	in := s.look()
	step := planner.Step{Kind: "start", Target: []string{m.Name}, Action: planner.Start{Members: []planner.StartMember{m}}}
	predicted, err := planner.Predict(in.Observation, step.Action)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.host.Start(harness.Context(s.t), []planner.StartMember{m}); err != nil {
		s.t.Fatal(err)
	}
	s.compare(harness.Context(s.t), in.Cluster, step, in.Observation, predicted)
}

// otherVersions goes from 3.5 to 3.7, begins to go back, and calls that off.
func otherVersions(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	l := &live{c: s.c}
	binary := versions(t, s.e)
	l.want(binary, "3.5")
	s.comesTrue("claim start verify")
	roll := "stop start stop start move-leader stop start verify"
	l.want(binary, "3.7")
	s.comesTrue(roll + " trim-log " + roll)
	l.want(binary, "3.6")
	in, p := s.plan("enable-downgrade " + roll)
	s.carryOut(in, p, 1)
	l.want(binary, "3.7")
	s.comesTrue("cancel-downgrade verify")
}
