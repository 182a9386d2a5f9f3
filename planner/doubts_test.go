package planner

import (
	"strings"
	"testing"
)

// Each way in which something can fail to be known gives a doubt that says what
// would settle it, and what is known gives none.
func TestDoubts(t *testing.T) {
	all := []kind{serving, serving, serving}
	cases := []struct {
		name   string
		in     Input
		member string
		fact   string
		state  FactState
		settle string
	}{
		{"no access to a disk", changed(all, func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) { o.Data = Unknown[DataDir]("permission denied") })
		}), "m2", "what lies in its data directory", FactUnknown, "give requorum access to /data/m2"},
		{"no answer", changed([]kind{serving, serving, down}, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.Client.Reach, o.Client.Detail = ReachTimeout, "i/o timeout" })
		}), "m3", "whether it is alive", FactUnknown, "bring its network up"},
		{"no answer, and no quorum", changed([]kind{down, missing, missing}, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.Client.Reach = ReachNoRoute })
		}), "m3", "whether it is alive", FactUnknown, "host-destroyed:m3"},
		{"another certificate", changed(all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client = Endpoint{URL: "https://h:1", Reach: ReachTLSFailed} })
		}), "m1", "who answers there", FactUnknown, "tls { requorum"},
		{"another user", changed(all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client = Endpoint{URL: "http://h:1", Reach: ReachAuth} })
		}), "m1", "how it stands", FactUnknown, "auth {"},
		{"a list that contradicts", changed(all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) {
				o.Client.Members = Contradicted[[]ListedMember]("localhost is two members")
			})
		}), "m1", "whom it has in its member list", FactContradicted, "plan again"},
		{"not compared", changed(all, func(in *Input) { in.Observation.KV = Unknown[KVComparison]("writes came in between") }),
			"", "whether the members hold the same data", FactUnknown, "plan again"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range New(c.in).Doubts {
				if d.Member == c.member && d.Fact == c.fact && d.State == c.state && d.Why != "" && strings.Contains(d.Settle, c.settle) {
					return
				}
			}
			t.Errorf("got %+v", New(c.in).Doubts)
		})
	}
	known := changed(all, func(in *Input) { in.Observation.KV = Known(KVComparison{Equal: true}) })
	if d := New(known).Doubts; len(d) > 0 {
		t.Errorf("all is known, and yet: %+v", d)
	}
}

func changed(ks []kind, change func(*Input)) Input { return seen(len(ks), ks, change)() }

func TestOneMoreFailure(t *testing.T) {
	for q, want := range map[Quorum]OneMore{
		{3, 3}: OneMoreStays, {3, 2}: OneMoreLoses, {3, 1}: OneMoreNone, {1, 1}: OneMoreLoses, {5, 4}: OneMoreStays, {4, 3}: OneMoreLoses, {0, 0}: OneMoreNone,
	} {
		if got := q.OneMore(); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
}
