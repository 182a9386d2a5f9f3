package executor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// A learner that does not answer here, and that somebody else promotes while it is
// waited for, is a voter: it is not taken off the list as a learner that is given up.
func TestPromotedBySomebodyElse(t *testing.T) {
	release := harness.Etcd(t, "3.6")
	ports, err := harness.ReservePorts(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	door, err := harness.ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	run(t, release, "m1", ports.URL(0), ports.URL(1), "m1="+ports.URL(1))
	harness.AwaitServing(t, ports.URL(0))
	ctx, c := harness.Context(t), harness.Client(t, ports.URL(0))
	added, err := c.MemberAddAsLearner(ctx, []string{ports.URL(3)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, release, "m2", ports.URL(2), ports.URL(3), fmt.Sprintf("m1=%s,m2=%s", ports.URL(1), ports.URL(3)), "--initial-cluster-state=existing")
	r := runner(t, &stub{}, &lock{})
	p := plan(planner.Promote{Name: "m2", PeerURLs: []string{ports.URL(3)}, ClientURL: door.URL(0), Endpoints: []string{ports.URL(0)}})
	p.Steps[0].TimeoutSeconds = 12 // half of it until it is given up
	time.AfterFunc(9*time.Second, func() { forward(t, door, ports.URL(2)) })
	promoted := make(chan error, 1)
	time.AfterFunc(time.Second, func() {
		err := fmt.Errorf("not tried")
		for range 30 {
			if _, err = c.MemberPromote(ctx, added.Member.ID); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		promoted <- err
	})
	if err := r.Run(ctx, p); err != nil || !strings.Contains(strings.Join(r.said, " "), "promoted by somebody else") {
		t.Errorf("%v; said %q", err, r.said)
	}
	if err := <-promoted; err != nil {
		t.Fatal(err)
	}
	list, err := c.MemberList(ctx)
	if err != nil || len(list.Members) != 2 || list.Members[0].IsLearner || list.Members[1].IsLearner {
		t.Errorf("%v %v", list, err)
	}
}

// A learner that nobody hears of any more, or whose cluster is silent, is not waited for
// until its time is up, and not given up either: how far it is is unknown.
func TestSilentLearner(t *testing.T) {
	release := harness.Etcd(t, "3.6")
	ports, err := harness.ReservePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	run(t, release, "m1", ports.URL(0), ports.URL(1), "m1="+ports.URL(1))
	harness.AwaitServing(t, ports.URL(0))
	was := silentTime
	t.Cleanup(func() { silentTime = was })
	silentTime = time.Second
	r := runner(t, &stub{}, &lock{})
	nobody, serves := ports.URL(2), ports.URL(0)
	for what, a := range map[string]planner.Promote{
		"the cluster": {Name: "m2", ClientURL: serves, Endpoints: []string{nobody}},
		"the learner": {Name: "m2", ClientURL: nobody, Endpoints: []string{serves}},
	} {
		limit, cancel := context.WithTimeout(harness.Context(t), time.Minute)
		err := r.catchUpOrGiveUp(limit, a, "1", nil)
		if err == nil || !strings.Contains(err.Error(), "stays a learner") || strings.Contains(err.Error(), "given up") || limit.Err() != nil {
			t.Errorf("%s is silent: %v; %v", what, err, limit.Err())
		}
		cancel()
	}
}
