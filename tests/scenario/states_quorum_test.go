package scenario

import (
	"bytes"
	"errors"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

var quorumStates = []stateCase{
	{"members go one by one", []int{1, 2, 3, 4, 5}, oneByOne},
	{"all data is gone", []int{6}, allLost},
	{"a second voter that never starts", []int{7}, secondUnstarted},
	{"one of two dies", []int{9}, oneOfTwoDies},
	{"a peer URL is changed in the list alone", []int{11}, stalePeerURL},
	{"two halves after force-new-cluster", []int{13}, twoHalves},
	{"a value changes in one db", []int{51, 52}, divergedDB},
	{"a learner that never starts", []int{30}, learnerUnstarted},
	{"a downgrade is begun", []int{54}, downgradeBegun},
}

func oneByOne(x *sight) {
	c, hs := x.byHand(3)
	m2, m3 := c.Members[1], c.Members[2]
	hs[2:].Kill9()
	x.shows(c, planner.StateMinorityDown, "m3")
	remove(x.T, m3.DataDir)
	x.shows(c, planner.StateMinorityLost, "m3")
	hs[1:2].Kill9()
	remove(x.T, m2.DataDir)
	x.shows(c, planner.StateQuorumLostRunning, "m1")
	hs[:1].Kill9()
	remove(x.T, hs[0].Log())
	hs[0].Start()
	x.logged(hs[0].Log(), "is starting a new election")
	x.shows(c, planner.StateQuorumLostRestarted, "m1")
	hs[:1].Kill9()
	x.shows(c, planner.StateQuorumLost, "m1")
}

func allLost(x *sight) {
	c, _ := bootstrapped(x.T, x.e, 1)
	c.Stop()
	c.DropData(c.Members...)
	if p := x.shows(c, planner.StateAllLost, "m1"); p.Code() != "data-missing" {
		x.Errorf("refusal %q", p.Code())
	}
}

func secondUnstarted(x *sight) {
	c := x.e.Cluster(2).Write()
	h := x.e.Hand(c.Members[0], nil)
	h.Serve()
	addMember(x.T, h.Client, c.Members[1].Peer, false)
	x.shows(c, planner.StateSecondUnstarted, "m2")
}

func oneOfTwoDies(x *sight) {
	c, hs := x.byHand(2)
	hs[1:].Kill9()
	remove(x.T, c.Members[1].DataDir)
	x.shows(c, planner.StateOneOfTwoDead, "")
}

func stalePeerURL(x *sight) {
	c, hs := x.byHand(3)
	id := harness.Status(x, hs[2].Client).Header.MemberId
	if _, err := harness.Client(x, hs[0].Client).MemberUpdate(harness.Context(x), id, []string{x.e.Ports(1).URL(0)}); err != nil {
		x.Fatal(err)
	}
	x.shows(c, planner.StatePeerURLStale, "m3")
}

// The forced one listens where the others do not look for it: they would end if
// they met it.
func twoHalves(x *sight) {
	c, hs := x.byHand(3)
	hs[0].Term()
	hs[0].Set("--listen-peer-urls="+x.e.Ports(1).URL(0), "--force-new-cluster")
	hs[0].Serve()
	hs[1:].Await()
	x.shows(c, planner.StateSplitBrain, "m2", "split-brain@m3", "force-new-left-on@m1", "drift-urls@m1")
}

func divergedDB(x *sight) {
	c, hs := x.byHand(3)
	lead(x.T, hs, 0)
	hs[2].Term()
	db, err := bolt.Open(filepath.Join(c.Members[2].DataDir, "member/snap/db"), 0o600, nil)
	if err != nil {
		x.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		cur := b.Cursor()
		for k, v := cur.First(); k != nil; k, v = cur.Next() {
			if i := bytes.Index(v, []byte("value 0 of round")); i >= 0 {
				changed := bytes.Clone(v)
				changed[i] ^= 0x20
				return b.Put(bytes.Clone(k), changed)
			}
		}
		return errors.New("no such value")
	})
	if err := errors.Join(err, db.Close()); err != nil {
		x.Fatal(err)
	}
	hs[2].Serve()
	x.shows(c, planner.StateSilentDivergence, "m3")
	for _, h := range hs {
		h.Set("--corrupt-check-time=1s")
		h.Term()
		h.Serve()
	}
	for end := time.Now().Add(30 * time.Second); len(harness.Status(x, hs[0].Client).Errors) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			x.Fatal("no alarm")
		}
	}
	x.shows(c, planner.StateCorruptAlarm, "m3")
}

func learnerUnstarted(x *sight) {
	c := x.e.Cluster(2).Write()
	h := x.e.Hand(c.Members[0], nil)
	h.Serve()
	addMember(x.T, h.Client, c.Members[1].Peer, true)
	x.shows(c, planner.StateLearnerUnstarted, "m2")
}

func downgradeBegun(x *sight) {
	c := x.e.Cluster(1).Write()
	h := x.e.Hand(c.Members[0], nil)
	h.Serve()
	cli := harness.Client(x, h.Client)
	// It is refused until the leader has decided on the cluster's version.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := cli.Downgrade(harness.Context(x), clientv3.DowngradeEnable, "3.6.0")
		if err == nil {
			break
		}
		if time.Now().After(end) {
			x.Fatal(err)
		}
	}
	x.shows(c, planner.StateDowngradeStuck, "")
}
