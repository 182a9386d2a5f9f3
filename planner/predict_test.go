package planner

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// walkPlan carries a whole plan out by Predict. It gives what is observed then, and
// says what went wrong; no step may change the observation that it is given.
func walkPlan(obs Observation, p *Plan, each func(Step, Observation)) (Observation, string) {
	for _, s := range p.Steps {
		held, _ := Holds(s.Action, obs)
		next, err := Predict(obs, s.Action)
		if err != nil {
			return obs, fmt.Sprintf("step %d %s %v: %v", s.ID, s.Kind, s.Target, err)
		}
		if ok, missing := Holds(s.Action, next); !ok {
			return next, fmt.Sprintf("step %d %s %v does not hold after it: %s", s.ID, s.Kind, s.Target, missing)
		}
		if held && !Traceless(s.Action) && !reflect.DeepEqual(obs, next) && !mayHold(s, obs, next) {
			return next, fmt.Sprintf("step %d %s %v held before it, and changes something", s.ID, s.Kind, s.Target)
		}
		obs = next
		if each != nil {
			each(s, obs)
		}
	}
	return obs, ""
}

// mayHold is for steps that find done what they are for.
func mayHold(s Step, before, after Observation) bool { return false }

// walkInput plans, carries out, and plans again until nothing is left to do.
func walkInput(in Input, each func(Step, Observation)) (did []string, bad string) {
	for range 5 {
		p := New(in)
		if p.Refusal != nil {
			return append(did, "refused: "+string(p.Refusal.Code)+": "+p.Refusal.Title), ""
		}
		did = append(did, fmt.Sprintf("%s: %s", p.Route, stepKinds(p)))
		if p.Route == RouteInSync {
			return did, ""
		}
		if n := len(did); n > 1 && did[n-1] == did[n-2] {
			return did, "the same plan again: " + did[n-1]
		}
		obs, why := walkPlan(in.Observation, p, each)
		if why != "" {
			return did, why
		}
		in.Observation = obs
		in.Token += "+"
	}
	return did, "plans without an end"
}

// TestPredictWalksStates: every plan of the states that have a name leads, step by
// step, to where no plan is left, or to a refusal that is known.
func TestPredictWalksStates(t *testing.T) {
	for _, s := range states() {
		t.Run(fmt.Sprintf("%d %s", s.number, s.name), func(t *testing.T) {
			did, bad := walkInput(s.in(), nil)
			if bad != "" {
				t.Errorf("%s\n  %s", bad, strings.Join(did, "\n  "))
			}
			t.Log(strings.Join(did, "\n  "))
		})
	}
}

// TestPredictWalksMixtures does the same for every mixture of three kinds of members.
func TestPredictWalksMixtures(t *testing.T) {
	bad, walks, refused := map[string][]string{}, 0, 0
	ends := map[string]int{}
	for _, snapshot := range []bool{false, true} {
		for _, a := range kinds() {
			for _, b := range kinds() {
				for _, c := range kinds() {
					if ks := []kind{a, b, c}; slices.Contains(ks, installed) && slices.Contains(ks, newcomer) {
						continue // restored for a member, and with a list without it: that can't be
					}
					file := threeMembers()
					if snapshot {
						withSnapshot(file)
					}
					in := input(file, a, b, c)
					if p := New(in); p.Refusal != nil {
						refused++
						continue
					}
					walks++
					did, why := walkInput(in, nil)
					if why != "" {
						bad[why] = append(bad[why], fmt.Sprintf("%v %v %v, snapshot %v\n    %s", a, b, c, snapshot, strings.Join(did, "\n    ")))
					}
					ends[did[len(did)-1]]++
				}
			}
		}
	}
	for why, examples := range bad {
		t.Run(why, func(t *testing.T) {
			t.Errorf("%d times, as in\n  %s", len(examples), strings.Join(examples[:min(2, len(examples))], "\n  "))
		})
	}
	t.Logf("%d walks, %d refused at once; ends: %v", walks, refused, ends)
}

func snapshotOf(t *testing.T, obs Observation) string {
	t.Helper()
	b, err := json.Marshal(obs)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
