package observe

import (
	"testing"
	"time"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// A comparison that was made a moment ago is not made again, where it is of all that
// serve.
func TestComparedBefore(t *testing.T) {
	obs := planner.Observation{Members: map[string]planner.MemberObservation{}}
	c := &spec.Cluster{}
	for _, name := range []string{"m1", "m2"} {
		c.Members = append(c.Members, spec.Member{Name: name})
		// Nobody is there: who is asked gives no answer.
		obs.Members[name] = planner.MemberObservation{Client: planner.Endpoint{Reach: planner.ReachServing, URL: "http://127.0.0.1:1"}}
	}
	for want, hashes := range map[bool]map[string]uint32{true: {"m1": 7, "m2": 7}, false: {"m1": 7, "m3": 7}} {
		o := &Observer{Cluster: c, KVLimit: time.Second, Compared: planner.Known(planner.KVComparison{Revision: 9, Equal: true, Hashes: hashes})}
		if got := o.compare(t.Context(), &obs); got.Known() != want {
			t.Errorf("of %v: %+v", hashes, got)
		}
	}
	o := &Observer{Cluster: c, KVLimit: time.Second}
	if got := o.compare(t.Context(), &obs); got.Known() {
		t.Errorf("%+v", got)
	}
}
