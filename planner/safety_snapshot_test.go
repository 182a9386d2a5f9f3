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

// What is restored was tried and read, alone and on loopback, before any member of
// it may serve a client; and it is verified at once when they do.
func TestS17ProvenBeforeClientsComeBack(t *testing.T) {
	for name, in := range map[string]Input{
		"restore": input(withSnapshot(threeMembers()), fresh, fresh, fresh),
		"recover": input(threeMembers(), down, missing, missing),
	} {
		k := strings.Fields(stepKinds(New(in)))
		trial, install, start, verify := slices.Index(k, "trial"), slices.Index(k, "install"), slices.Index(k, "start"), slices.Index(k, "verify")
		if trial < 0 || install < trial || start < install || verify != start+1 {
			t.Errorf("%s: steps %q", name, k)
		}
	}
}
