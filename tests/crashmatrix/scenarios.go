package main

import (
	"os"
	"path/filepath"

	"github.com/requorum/requorum/tests/harness"
)

// scenario is one change of a cluster that is interrupted everywhere.
type scenario struct {
	name  string
	steps string // the kinds of the plan's actions, in their order
	// serving is whether the cluster serves from the beginning to the end, so that
	// writers run throughout.
	serving bool
	// identities is how many clusters may be alive in turn.
	identities int
	// large is whether it has a db whose copying takes a while: requorum is killed in
	// the midst of that, and nowhere else.
	large bool
	// setup brings the cluster to where the change begins, and writes the file.
	setup func(x *trial)
}

// keys is how many keys each cluster has at least.
const keys = 1000

// scenarios is the whole table. What they are killed at follows from their steps.
var scenarios = []scenario{
	{name: "bootstrap", steps: "claim start verify", identities: 1, setup: func(x *trial) { x.c = x.e.Cluster(3) }},
	{name: "restore", steps: "restore install start verify stop start verify", identities: 1, setup: func(x *trial) { x.restore(x.source(false)) }},
	{name: "restore, large", steps: "restore install start verify stop start verify", identities: 1, large: true, setup: func(x *trial) { x.restore(x.source(true)) }},
	{name: "restore over lost data", steps: "restore install start verify stop start verify", identities: 2, setup: restoreOverLost},
	{name: "recover", steps: "fence recover restore trial install start verify stop start verify", identities: 2, setup: func(x *trial) { x.crash(0); x.only(0) }},
	{name: "recover, large", steps: "fence recover restore trial install start verify stop start verify", identities: 2, large: true, setup: func(x *trial) { x.crash(largeMB); x.only(0) }},
	{name: "recover a running survivor", steps: "save-snapshot fence recover restore trial install start verify stop start verify", identities: 2, setup: recoverRunning},
	{name: "recover in place", steps: "fence recover trial install start verify stop start verify add-learner join promote add-learner join promote verify", identities: 1, setup: func(x *trial) {
		x.c = x.e.Cluster(3)
		x.c.More = "  recover {\n    from     = \"m1\"\n    in_place = true\n  }\n"
		x.crash(0)
		x.only(0)
	}},
	{name: "a recovery is given up", steps: "unfence start verify", identities: 1, setup: giveUpRecovery},
	{name: "start", steps: "start verify", identities: 1, setup: func(x *trial) { x.bootstrap(3); x.fill(); x.c.PowerCut() }},
	{name: "migrate", steps: "adopt update-member add-learner join promote add-learner join promote verify", identities: 1, serving: true, setup: migrate},
	{name: "adopt", steps: "adopt", identities: 1, serving: true, setup: adopt},
	{name: "replace", steps: "remove-member add-learner join promote verify", identities: 1, serving: true, setup: func(x *trial) {
		x.living(3, 0)
		x.lose(2)
	}},
	{name: "grow", steps: "save-snapshot add-learner join promote add-learner join promote verify", identities: 1, serving: true, setup: func(x *trial) { x.grow(0) }},
	{name: "grow, large", steps: "save-snapshot add-learner join promote add-learner join promote verify", identities: 1, serving: true, large: true, setup: func(x *trial) { x.grow(largeMB) }},
	{name: "shrink", steps: "remove-member stop move-leader remove-member stop verify", identities: 1, serving: true, setup: shrink},
	{name: "peer URLs", steps: "update-member stop start update-member stop start update-member move-leader stop start verify", identities: 1, serving: true, setup: func(x *trial) {
		x.living(3, 0)
		ports := x.e.Ports(3)
		for i := range x.c.Members {
			x.c.Members[i].Peer = ports.URL(i)
		}
	}},
	{name: "rolling restart", steps: "stop start stop start move-leader stop start verify", identities: 1, serving: true, setup: func(x *trial) {
		x.living(3, 0)
		x.c.More = "  etcd {\n    config = { max-request-bytes = 2000000 }\n  }\n"
	}},
	{name: "upgrade over two minors", steps: "stop start stop start move-leader stop start verify trim-log stop start stop start move-leader stop start verify", identities: 1, serving: true, setup: func(x *trial) {
		x.version("3.5")
		x.living(3, 0)
		x.version("3.7")
	}},
	{name: "downgrade", steps: "enable-downgrade stop start stop start move-leader stop start verify", identities: 1, serving: true, setup: func(x *trial) {
		x.version("3.6")
		x.living(3, 0)
		x.version("3.5")
	}},
	{name: "a downgrade is called off", steps: "cancel-downgrade verify", identities: 1, serving: true, setup: func(x *trial) {
		x.version("3.6")
		x.living(3, 0)
		x.goBack("3.5.0")
		x.version("3.6")
	}},
	{name: "another name", steps: "stop start verify", identities: 1, serving: true, setup: func(x *trial) {
		x.living(3, 0)
		x.c.Members[2].Name = "n3"
	}},
	{name: "voter to learner", steps: "remove-member stop set-aside add-learner join verify", identities: 1, serving: true, setup: func(x *trial) {
		x.living(3, 0)
		x.c.Members[2].Learner = true
	}},
	{name: "learner to voter", steps: "promote verify", identities: 1, serving: true, setup: func(x *trial) {
		x.living(2, 0)
		x.more(1)
		x.c.Members[2].Learner = true
		x.e.Settle(x.c.Write().Path(), harness.Granted)
		x.c.Members[2].Learner = false
	}},
}

// restoreOverLost has a cluster whose data directories are all gone.
func restoreOverLost(x *trial) {
	x.bootstrap(3)
	x.fill()
	harness.Snapshot(x.t, x.c.Members[0].Client, filepath.Join(x.c.Dir, "saved.db"))
	x.c.Stop()
	x.c.DropData(x.c.Members...)
	x.c.Snapshot = "saved.db"
}

// recoverRunning has one member of three that runs on without a quorum; the disks
// of the others are gone.
func recoverRunning(x *trial) {
	x.serve(0)
	x.hands[1:].Kill9()
	x.ws[0].Stop()
	x.only(0)
	x.awaitState("recover")
}

// giveUpRecovery has a recovery that was killed after it had fenced the survivor;
// then the disks that were missing come back.
func giveUpRecovery(x *trial) {
	x.crash(0)
	for _, m := range x.c.Members[1:] {
		x.must(os.Rename(m.DataDir, m.DataDir+"-unplugged"))
	}
	p := x.e.Plan(x.c.Path())
	a := x.e.StartApply(nil, append([]string{x.c.Path()}, p.Accept()...)...)
	if !a.Until(func(j *harness.Journal) bool { return j.Place() >= 2 }) {
		x.t.Fatalf("it was not fenced\n%s", a.Wait())
	}
	a.Kill()
	for _, m := range x.c.Members[1:] {
		x.must(os.Rename(m.DataDir+"-unplugged", m.DataDir))
	}
}

// migrate has a single member that somebody started by hand, known to its cluster
// as localhost.
func migrate(x *trial) {
	x.c = x.e.Cluster(3)
	h := x.e.Hand(x.c.Members[0], nil, atLocalhost(x.c.Members[0])...)
	h.Serve()
	x.hands = harness.Hands{h}
	x.fill()
	x.write()
}

// adopt has a cluster whose supervisors died.
func adopt(x *trial) {
	x.living(3, 0)
	for _, m := range x.c.Members {
		x.must(harness.Kill9([]harness.Proc{x.c.Supervisor(m)}))
	}
}

// grow makes three of one, after a snapshot.
func (x *trial) grow(mb int) {
	x.bootstrap(1)
	x.bulk(mb)
	x.fill()
	x.write()
	x.more(2)
	x.c.More = "  policy {\n    snapshot_before = \"membership\"\n  }\n"
}

// shrink takes two of three away, the leader among them.
func shrink(x *trial) {
	x.living(3, 1)
	x.c.Members = x.c.Members[:1:1]
}
