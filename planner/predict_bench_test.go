package planner

import "testing"

// BenchmarkPredict: the model check walks millions of steps.
func BenchmarkPredict(b *testing.B) {
	for _, bm := range []struct {
		name string
		obs  Observation
		a    Action
	}{
		{"stop one of three", input(threeMembers(), serving, serving, serving).Observation, Stop{Cluster: "demo", Members: []StopMember{{Place: Place{Name: "m3"}}}}},
		{"start one of three", input(threeMembers(), serving, serving, down).Observation, firstOf[Start](b, input(threeMembers(), serving, serving, down))},
		{"remove one of five", input(members(5), serving, serving, serving, serving, missing).Observation, firstOf[Remove](b, input(members(5), serving, serving, serving, serving, missing))},
		{"fence five", input(members(5), serving, serving, missing, missing, missing).Observation, firstOf[Fence](b, input(members(5), serving, serving, missing, missing, missing))},
		{"restore to three", input(withSnapshot(threeMembers()), fresh, fresh, fresh).Observation, firstOf[Restore](b, input(withSnapshot(threeMembers()), fresh, fresh, fresh))},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Predict(bm.obs, bm.a); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bm.name+", holds", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Holds(bm.a, bm.obs)
			}
		})
	}
}

// firstOf is the first action of its type in the input's plan.
func firstOf[A Action](t testing.TB, in Input) Action {
	t.Helper()
	for _, s := range New(in).Steps {
		if a, ok := s.Action.(A); ok {
			return a
		}
	}
	t.Fatalf("no such step in %s", stepKinds(New(in)))
	return nil
}
