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
		if held && !Traceless(s.Action) && !reflect.DeepEqual(obs, next) {
			return next, fmt.Sprintf("step %d %s %v held before it, and changes something", s.ID, s.Kind, s.Target)
		}
		obs = next
		if each != nil {
			each(s, obs)
		}
	}
	return obs, ""
}

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

func asJSON(t *testing.T, obs any) string {
	t.Helper()
	b, err := json.Marshal(obs)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPredictChangesNothingOfItsInput: of every step of every plan of the named
// states, and of mixtures, the observation that it is given is as it was.
func TestPredictChangesNothingOfItsInput(t *testing.T) {
	seen := map[string]int{}
	check := func(obs Observation, p *Plan) {
		for _, s := range p.Steps {
			before := whole(reflect.ValueOf(obs)).Interface()
			next, err := Predict(obs, s.Action)
			if err != nil {
				t.Fatal(err)
			}
			if after := whole(reflect.ValueOf(obs)).Interface(); !reflect.DeepEqual(before, after) {
				t.Fatalf("%s changed what it was given:\n%s\n%s", s.Kind, asJSON(t, before), asJSON(t, after))
			}
			again, err := Predict(obs, s.Action)
			if err != nil || !reflect.DeepEqual(next, again) {
				t.Fatalf("%s comes out otherwise the second time: %v", s.Kind, err)
			}
			seen[s.Kind]++
			obs = next
		}
	}
	for _, s := range states() {
		in := s.in()
		check(in.Observation, New(in))
	}
	for _, a := range kinds() {
		for _, b := range []kind{serving, missing, down, staged, byHand} {
			for _, c := range []kind{serving, fresh, missing, fenced, orphaned} {
				in := input(withSnapshot(threeMembers()), a, b, c)
				check(in.Observation, New(in))
			}
		}
	}
	in := input(threeMembers(), serving, serving, serving)
	check(in.Observation, NewStop(in, nil))
	for _, a := range Actions() {
		if seen[a.Kind()] == 0 {
			t.Errorf("no plan here has %s", a.Kind())
		}
	}
}

// whole is a copy that shares nothing with v but strings, and has what lies behind
// the ends of its slices too: an append could write there.
func whole(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(whole(v.Field(i)))
		}
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		v = v.Slice(0, v.Cap())
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint32 {
			reflect.Copy(out, v)
			break
		}
		for i := range v.Len() {
			out.Index(i).Set(whole(v.Index(i)))
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for _, k := range v.MapKeys() {
				out.SetMapIndex(k, whole(v.MapIndex(k)))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(whole(v.Elem()))
		}
	default:
		out.Set(v)
	}
	return out
}

// TestPredictWalksWorlds: the clusters of up to five members that TestWalk changes
// come to the same end by predictions as in its model of etcd.
func TestPredictWalksWorlds(t *testing.T) {
	bad, walks := map[string][]string{}, 0
	eachWalk(func(w *world, text string) {
		walks++
		w.file.Policy.MinFaultTolerance = walks % 3 % 2
		did, why := walkInput(w.observe(), nil)
		if why != "" {
			bad[why] = append(bad[why], text+"\n    "+strings.Join(did, "\n    "))
		}
	})
	for why, examples := range bad {
		t.Run(why, func(t *testing.T) {
			t.Errorf("%d times, as in\n  %s", len(examples), strings.Join(examples[:min(2, len(examples))], "\n  "))
		})
	}
	t.Logf("%d walks", walks)
}
