package planner

import (
	"slices"
	"strings"
	"testing"
)

// What has no checksum is called not provable, and is said for a copied db and for
// a survivor alike; a snapshot with its hash needs no such word.
func TestS14NotProvableIsSaid(t *testing.T) {
	noted := func(in Input) bool {
		p := New(in)
		if p.Refusal != nil {
			t.Fatalf("%+v", p.Refusal)
		}
		return slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.Code == NoteNotProvable })
	}
	hashed := input(withSnapshot(threeMembers()), fresh, fresh, fresh)
	if noted(hashed) {
		t.Error("a snapshot with its hash is called not provable")
	}
	copied := input(withSnapshot(threeMembers()), fresh, fresh, fresh)
	copied.Cluster.Snapshot.SkipHashCheck, copied.Observation.Snapshot.HasHash = true, false
	if !noted(copied) {
		t.Error("a copied db is not called not provable")
	}
	if !noted(input(threeMembers(), down, missing, missing)) {
		t.Error("a survivor is not called not provable")
	}
	damagedDB := input(threeMembers(), down, missing, missing) // what a whole reading found
	disk(&damagedDB, "m1", func(d *DataDir) { d.Problem = "invalid database: page 7" })
	if p := New(damagedDB); p.Refusal == nil {
		t.Errorf("it recovers from a disk that is damaged: %s", stepKinds(p))
	}
}

// A member that still runs is saved, then fenced, and what is restored comes from
// its disk: the snapshot of before lacks what was written meanwhile.
func TestS15FencedBeforeItIsReplaced(t *testing.T) {
	p := New(input(members(5), serving, missing, missing, missing, missing))
	if !routeIs(t, p, RouteRecover) {
		return
	}
	k := strings.Fields(stepKinds(p))
	save, fence, recovers, stage := slices.Index(k, "save-snapshot"), slices.Index(k, "fence"), slices.Index(k, "recover"), slices.Index(k, "restore")
	if save < 0 || fence < save || recovers < fence || stage < recovers {
		t.Errorf("steps %q", k)
	}
	if a, _ := actionOf[Restore](p); !a.Recovered {
		t.Errorf("it restores %s, not what the disk has", a.Snapshot)
	}
}

// What is restored is verified before any member of it serves a client: it starts with
// its client listeners closed, is read back, and only then starts for clients. Where a
// directory goes aside, or lies behind a fence, a trial comes before it is put in place.
func TestS17ProvenBeforeClientsComeBack(t *testing.T) {
	for name, tc := range map[string]struct {
		in    Input
		trial bool
	}{
		"restore":          {input(withSnapshot(threeMembers()), fresh, fresh, fresh), false},
		"restore, missing": {input(withSnapshot(threeMembers()), missing, missing, missing), false},
		"recover":          {input(threeMembers(), down, missing, missing), true},
	} {
		p := New(tc.in)
		k := strings.Fields(stepKinds(p))
		if n := len(k); n < 6 || strings.Join(k[n-6:], " ") != "install start verify stop start verify" || slices.Contains(k[:n-6], "trial") != tc.trial {
			t.Errorf("%s: steps %q", name, k)
			continue
		}
		steps := p.Steps[len(p.Steps)-5:]
		first, open := steps[0].Action.(Start), steps[3].Action.(Start)
		closed, last := steps[1].Action.(Verify), steps[4].Action.(Verify)
		if !first.Closed || open.Closed || closed.Closed == nil || last.Closed != nil || !last.Lease {
			t.Errorf("%s: %+v", name, steps)
		}
		for i, m := range first.Members {
			if !Closed(m.Args) || argValue(m.Args, "advertise-client-urls") != argValue(open.Members[i].Args, "advertise-client-urls") {
				t.Errorf("%s: %s starts with %q", name, m.Name, m.Args)
			}
			if Closed(open.Members[i].Args) || closed.Closed.URLs[i] != m.ClientURL {
				t.Errorf("%s: %s is asked at %s", name, m.Name, closed.Closed.URLs[i])
			}
		}
		if q := steps[2].After; q.Healthy != 0 {
			t.Errorf("%s: %+v before clients are served", name, q)
		}
	}
}

// A crash anywhere between the first start and the last one: who was shown to nobody is
// verified again; once one was shown to clients, the others follow it.
func TestS17AfterACrash(t *testing.T) {
	in := input(withSnapshot(threeMembers()), fresh, fresh, fresh)
	p := New(in)
	obs := in.Observation
	after := map[string]string{
		"install": "start verify stop start verify", "start": "verify stop start verify", "verify": "verify stop start verify",
		"stop": "start verify stop start verify",
	}
	for i, s := range p.Steps {
		next, err := Predict(obs, s.Action)
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := after[s.Kind]; ok && i < 5 {
			again := in
			again.Observation, again.Token = next, "another"
			if q := New(again); stepKinds(q) != want || q.Route != RouteRestore {
				t.Errorf("after %s: %s %s, want %s (%s)", s.Title, q.Route, stepKinds(q), want, q.Headline)
			}
		}
		if a, ok := s.Action.(Start); ok && !a.Closed {
			a.Members = a.Members[:1]
			one, err := Predict(obs, a)
			if err != nil {
				t.Fatal(err)
			}
			again := in
			again.Observation, again.Token = one, "another"
			if q := New(again); stepKinds(q) != "start verify" || q.Route != RouteStart {
				t.Errorf("after one was shown to clients: %s %s (%s)", q.Route, stepKinds(q), q.Headline)
			}
		}
		obs = next
	}
}
