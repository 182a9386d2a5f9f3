package scenario

import (
	"bytes"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// A member whose data differs from the others', which etcd does not notice: a
// majority of the voters has the same, so that it is replaced like one whose disk is
// damaged. What it had is kept.
func TestMinorityDiffers(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	m3 := c.Members[2]
	e.Run("stop", "--auto-approve", "--member", m3.Name, c.Path()).Want(t, 0)
	alterValue(t, filepath.Join(m3.DataDir, "member", "snap", "db"))
	e.Run("apply", "--auto-approve", c.Path()) // it may say already that it differs

	p := e.Plan(c.Path())
	if p.Code() != "" || p.Route != "reconfigure" || p.Loss.Kind != "unknown" || p.Consents() != "data-loss" {
		t.Fatalf("refusal %+v, route %s, loss %+v, needs %s: %s", p.Refusal, p.Route, p.Loss, p.Consents(), p.Headline)
	}
	e.Run("plan", c.Path()).Want(t, 0).Says(t, "silent-divergence", m3.Name, "requorum explain silent-divergence")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6)
	e.Apply(c.Path(), "--accept=data-loss")
	e.InSync(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	if kept, _ := filepath.Glob(filepath.Join(m3.Base(), "aside", "*")); len(kept) == 0 {
		list, _ := filepath.Glob(filepath.Join(m3.Base(), "*"))
		t.Errorf("what %s had is not kept: %q", m3.Name, list)
	}
}

// alterValue changes the last byte of a value in a stopped member's database.
func alterValue(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		k, v := b.Cursor().Last()
		v = bytes.Clone(v)
		v[len(v)-1] ^= 1
		return b.Put(bytes.Clone(k), v)
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An alarm of a member that is no more, as a restore brings it along: it is disarmed.
// One of a member that is there is left to a person, with what to do.
func TestAlarms(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	raise(t, c, 0xdeadbeef)
	p := e.Plan(c.Path())
	if p.Code() != "" || p.Route != "reconfigure" || p.Kinds() != "verify" || p.Consents() != "" {
		t.Fatalf("refusal %+v, route %s, %s, needs %s: %s", p.Refusal, p.Route, p.Kinds(), p.Consents(), p.Headline)
	}
	e.Apply(c.Path())
	e.InSync(c.Path())
	e.Run("status", c.Path()).Want(t, 0)

	id := harness.Status(t, c.Members[1].Client).Header.MemberId
	raise(t, c, 0xdeadbeef)
	raise(t, c, id)
	e.Run("plan", c.Path()).Want(t, 6).Says(t, "space-exhausted:", "defrag", "alarm disarm")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6)

	// Whatever else is to be done comes first.
	m3 := c.Members[2]
	e.Run("stop", "--auto-approve", "--member", m3.Name, c.Path()).Want(t, 0)
	if p := e.Plan(c.Path()); p.Code() != "" || p.Kinds() != "start" {
		t.Fatalf("refusal %+v, route %s, %s", p.Refusal, p.Route, p.Kinds())
	}
	e.Apply(c.Path())
	cli := harness.Client(t, c.Endpoints()...)
	if _, err := cli.AlarmDisarm(harness.Context(t), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	e.InSync(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// raise has the cluster take NOSPACE of a member for a fact.
func raise(t *testing.T, c *harness.Cluster, id uint64) {
	t.Helper()
	cli := harness.Client(t, c.Endpoints()...)
	_, err := pb.NewMaintenanceClient(cli.ActiveConnection()).Alarm(harness.Context(t),
		&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_NOSPACE})
	if err != nil {
		t.Fatal(err)
	}
}
