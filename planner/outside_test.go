package planner

import (
	"strings"
	"testing"
)

// A voter that was about to be removed died, and with it the quorum. Its disk is where
// the journal has it: no new identity begins without it, and no consent stands in.
func TestVoterOutsideTheFile(t *testing.T) {
	lost := func(f func(*OtherMember)) Input {
		in := input(members(2), stuck, down)
		elsewhere(&in, 1, func(o *OtherMember) {
			o.Client.Reach, o.Peer.Reach = ReachRefused, ReachRefused
			o.Disk = &OtherDisk{Place: Place{Name: o.Name, DataDir: "/data/" + o.Name}, Data: Known(DataDir{State: DirPresent, MemberID: o.ID, ClusterID: "c"})}
			f(o)
		})
		return in
	}
	p := New(lost(silent))
	if refusedAs(t, p, CodeVoterOutside); !strings.Contains(strings.Join(p.Refusal.Remedy, " "), `data_dir = "/data/m2"`) {
		t.Errorf("%q", p.Refusal.Remedy)
	}
	for name, f := range map[string]func(*OtherMember){
		"not looked at":    func(o *OtherMember) { o.Disk = nil },
		"not readable":     func(o *OtherMember) { o.Disk.Data = Unknown[DataDir]("no right") },
		"gone":             func(o *OtherMember) { o.Disk.Data.Value = DataDir{State: DirAbsent} },
		"damaged":          func(o *OtherMember) { o.Disk.Data.Value.Problem = "a bad byte" },
		"another member's": func(o *OtherMember) { o.Disk.Data.Value.MemberID = "abc" },
		"fenced":           func(o *OtherMember) { o.Disk.Data.Value.State = DirFenced },
	} {
		if p := New(lost(f)); p.Refusal != nil && p.Refusal.Code == CodeVoterOutside {
			t.Errorf("%s: %+v", name, p.Refusal)
		}
	}
	// With a quorum it is removed, whatever lies there.
	in := input(members(3), serving, serving, down)
	elsewhere(&in, 2, func(o *OtherMember) {
		o.Disk = &OtherDisk{Data: Known(DataDir{State: DirPresent, MemberID: o.ID})}
	})
	if p := New(in); stepKinds(p) != "remove-member verify" {
		t.Errorf("%s, refusal %+v", stepKinds(p), p.Refusal)
	}
}

// Of those that go the leader goes last, whatever their IDs are.
func TestTheLeaderIsRemovedLast(t *testing.T) {
	for leader := range 3 {
		in := input(members(3), serving, serving, serving)
		in.Observation.JournalMembers = []string{"m1", "m2", "m3"}
		elsewhere(&in, 1, func(o *OtherMember) {
			o.Client = in.Observation.Members[o.Name].Client
			o.Peer = in.Observation.Members[o.Name].Peer
		})
		id := MemberID(numbered(leader+1).PeerURLs, oldToken)
		edit(&in, "m1", func(o *MemberObservation) { o.Client.LeaderID = id })
		for i := range in.Observation.Others {
			in.Observation.Others[i].Client.LeaderID = id
		}
		var gone []string
		p := New(in)
		for _, s := range p.Steps {
			if r, ok := s.Action.(Remove); ok {
				gone = append(gone, r.Name)
			}
		}
		want := [][]string{{"m2", "m3"}, {"m3", "m2"}, {"m2", "m3"}}[leader]
		if strings.Join(gone, " ") != strings.Join(want, " ") {
			t.Errorf("m%d leads: removed are %v, refusal %+v", leader+1, gone, p.Refusal)
		}
	}
}
