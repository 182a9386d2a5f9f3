package planner

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/requorum/requorum/spec"
)

// A cluster that is made up as a file says is in sync with that file.
func TestInSyncIsInSync(t *testing.T) {
	five := members(5)
	five.Members[4].Learner = true
	config := threeMembers()
	config.Etcd.Config = map[string]string{"quota-backend-bytes": "8589934592"}
	old := threeMembers()
	old.Etcd.Version, old.Etcd.Binary = "3.5", "/opt/etcd-3.5"
	for name, c := range map[string]*spec.Cluster{
		"one": members(1), "three": threeMembers(), "nine": members(9), "learner": five, "config": config,
		"snapshot": withSnapshot(threeMembers()), "old": old,
	} {
		obs, err := InSync(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p := New(Input{Cluster: c, Observation: obs, Token: "t"}); p.Route != RouteInSync {
			t.Errorf("%s: %s (%s) %+v", name, p.Headline, p.Route, p.Refusal)
		}
		if same := SeenThrough(c, c, obs); !reflect.DeepEqual(same.Members, obs.Members) || len(same.Others) > 0 {
			a, _ := json.Marshal(obs)
			b, _ := json.Marshal(same)
			t.Errorf("%s: seen through itself it is another:\n%s\n%s", name, a, b)
		}
	}
}

// What another file leads to, from a cluster that is in sync with the first.
func TestSeenThrough(t *testing.T) {
	for _, tc := range []struct {
		name  string
		edit  func(c *spec.Cluster)
		steps string
	}{
		{"grow", func(c *spec.Cluster) { *c = *members(4) }, "add-learner join promote verify"},
		{"shrink", func(c *spec.Cluster) { c.Members = c.Members[:2] }, "remove-member stop verify"},
		{"order", func(c *spec.Cluster) { c.Members[0], c.Members[2] = c.Members[2], c.Members[0] }, ""},
		{"peer url", func(c *spec.Cluster) {
			c.Members[1].PeerURLs = []string{"http://127.0.0.1:2999"}
			c.Members[1].ListenPeerURLs = c.Members[1].PeerURLs
		}, "update-member stop start verify"},
		{"flag", func(c *spec.Cluster) { c.Etcd.Config = map[string]string{"quota-backend-bytes": "1"} }, "stop start stop start move-leader stop start verify"},
	} {
		was, next := threeMembers(), threeMembers()
		tc.edit(next)
		obs, err := InSync(was)
		if err != nil {
			t.Fatal(err)
		}
		p := New(Input{Cluster: next, Observation: SeenThrough(was, next, obs), Token: "t"})
		t.Logf("%s: %s: %s", tc.name, p.Headline, stepKinds(p))
		if got := stepKinds(p); got != tc.steps {
			t.Errorf("%s: steps %q, want %q (%+v)", tc.name, got, tc.steps, p.Refusal)
		}
	}
}

// Every action, and a step with it, is read back as it was written.
func TestActionsAreReadBack(t *testing.T) {
	for _, a := range Actions() {
		v := reflect.New(reflect.TypeOf(a)).Elem()
		fillIn(v)
		st := Step{ID: 3, Kind: a.Kind(), Action: v.Interface().(Action), Title: "x", Target: []string{"m1"}, Before: Quorum{3, 2}, After: Quorum{3, 3}}
		b, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		var back Step
		if err := json.Unmarshal(b, &back); err != nil {
			t.Errorf("%s: %v", a.Kind(), err)
		} else if !reflect.DeepEqual(st, back) {
			t.Errorf("%s: %+v is read back as %+v", a.Kind(), st, back)
		}
	}
	var s Step
	if err := json.Unmarshal([]byte(`{"kind":"sing","action":{}}`), &s); err == nil {
		t.Error("an unknown kind is read")
	}
}

func fillIn(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("s")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillIn(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(v.Field(i))
		}
	}
}
