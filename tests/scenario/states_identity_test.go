package scenario

import (
	"context"
	"path/filepath"
	"time"

	utl "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

var identityStates = []stateCase{
	{"another cluster's member in one's place", []int{18}, strayInPlace},
	{"one of three is restored", []int{20}, partlyRestored},
	{"a removed member starts", []int{21}, removedStarts},
	{"an empty directory", []int{23, 24}, emptyDirectory},
	{"a disk of yesterday", []int{25}, rolledBack},
	{"force-new-cluster stays on", []int{28}, forceLeftOn},
	{"force-new-cluster on a learner", []int{29}, forcedLearner},
}

// etcdLog is the log of a member that requorum runs.
func etcdLog(m harness.Member) string { return filepath.Join(m.Base(), "etcd.log") }

func (x *sight) stop(c *harness.Cluster, m harness.Member) {
	x.Helper()
	x.e.Run("stop", "--auto-approve", "--member", m.Name, c.Path()).Want(x, 0)
}

// restore is etcdutl's, under the token that Hand gives.
func (x *sight) restore(snapshot string, m harness.Member, all []harness.Member) {
	x.Helper()
	err := utl.NewV3(zap.NewNop()).Restore(utl.RestoreConfig{
		SnapshotPath: snapshot, Name: m.Name, OutputDataDir: m.DataDir, PeerURLs: []string{m.Peer},
		InitialCluster: harness.InitialCluster(all), InitialClusterToken: "by-hand",
	})
	if err != nil {
		x.Fatal(err)
	}
}

func strayInPlace(x *sight) {
	c, _ := bootstrapped(x.T, x.e, 3)
	m := c.Members[2]
	x.stop(c, m)
	rename(x.T, m.DataDir, x.e.Path("aside"))
	x.e.Hand(m, nil).Serve()
	x.logged(etcdLog(c.Members[0]), "cluster ID mismatch")
	p := x.shows(c, planner.StateClusterIDMismatch, "m3")
	if p.Refusal == nil {
		x.Errorf("not refused: route %s", p.Route)
	}
}

func partlyRestored(x *sight) {
	c := x.e.Cluster(3).Write()
	x.restore(write(x.T, x.e.Path("saved.db"), oldCluster(x.T).snapshot), c.Members[0], c.Members)
	x.e.ByHand(c.Members)
	if p := x.shows(c, planner.StatePartlyRestored, ""); p.Code() != "partly-restored" {
		x.Errorf("refusal %q", p.Code())
	}
}

func removedStarts(x *sight) {
	c, _ := bootstrapped(x.T, x.e, 3)
	m := c.Members[2]
	id := harness.Status(x, m.Client).Header.MemberId
	cli := harness.Client(x, c.Endpoints()[0])
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := cli.MemberRemove(ctx, id)
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			x.Fatal(err)
		}
	}
	x.logged(etcdLog(m), "not started again") // the supervisor's words, after etcd's
	x.logged(etcdLog(m), "the member has been permanently removed from the cluster")
	harness.AwaitServing(x, c.Endpoints()[0]) // m3 may have led
	if p := x.shows(c, planner.StateRemovedMemberExits, "m3"); p.Refusal != nil {
		x.Errorf("refused: %s", p.Code())
	}
}

func emptyDirectory(x *sight) {
	c, hs := x.byHand(3)
	lead(x.T, hs, 0)
	m, h := c.Members[2], hs[2]
	h.Term()
	remove(x.T, m.DataDir, h.Log())
	h.Start()
	h.AwaitEnd()
	x.logged(h.Log(), "has already been bootstrapped")
	x.shows(c, planner.StateEmptyDirNew, "m3")

	remove(x.T, m.DataDir, h.Log())
	h.Set("--initial-cluster-state=existing")
	h.Start()
	h.AwaitEnd()
	x.logged(h.Log(), "[lastIndex(0)]")
	// Its log is empty, so that it is not started once more to hear that.
	p := x.shows(c, planner.StateEmptyDirExisting, "m3")
	x.e.Run(append([]string{"apply", "--auto-approve", c.Path()}, p.Accept()...)...).Want(x, 0)
}

func rolledBack(x *sight) {
	c, _ := bootstrapped(x.T, x.e, 3)
	m := c.Members[2]
	x.stop(c, m)
	copyDir(x.T, m.DataDir, x.e.Path("yesterday"))
	x.e.Apply(c.Path())
	harness.Fill(x, c.Endpoints()[:1], 200)
	x.stop(c, m)
	rename(x.T, m.DataDir, x.e.Path("today"))
	rename(x.T, x.e.Path("yesterday"), m.DataDir)
	p := x.e.Plan(c.Path())
	x.Logf("before it is known: route %s, steps %s: %s; %+v", p.Route, p.Steplist(), p.Headline, p.States)
	x.e.Run(append([]string{"apply", "--auto-approve", c.Path()}, p.Accept()...)...).Want(x, 7).Says(x, "tocommit")
	x.logged(etcdLog(m), "tocommit(")
	x.shows(c, planner.StateDiskRolledBack, "m3")
}

func forceLeftOn(x *sight) {
	c := x.e.Cluster(1).Write()
	h := x.e.Hand(c.Members[0], nil)
	h.Serve()
	h.Term()
	h.Set("--force-new-cluster")
	h.Serve()
	x.logged(h.Log(), "forcing restart member")
	if p := x.shows(c, planner.StateForceNewLeftOn, "m1"); !hasConsent(p, "downtime") {
		x.Errorf("consents %q", p.Consents())
	}
}

func forcedLearner(x *sight) {
	c := x.e.Cluster(2).Write()
	first := x.e.Hand(c.Members[0], nil)
	first.Serve()
	harness.Fill(x, []string{first.Client}, 200)
	addMember(x.T, first.Client, c.Members[1].Peer, true)
	h := x.e.Hand(c.Members[1], c.Members, "--initial-cluster-state=existing")
	h.Start()
	x.logged(h.Log(), "ready to serve client requests")
	h.Term()
	h.Set("--force-new-cluster")
	h.Start()
	h.AwaitEnd()
	x.logged(h.Log(), "removed all voters")
	x.shows(c, planner.StateForceNewSpoilt, "m2")
}
