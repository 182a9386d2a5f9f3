package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/harness"
)

// TestFollowing: a learner is close by entries, or by time where more come in than that
// while the two are asked, and not by a constant distance.
func TestFollowing(t *testing.T) {
	const rate = 1300 // entries a second
	entries := func(d time.Duration) uint64 { return 1_000_000 + uint64(rate*d.Seconds()) }
	for name, c := range map[string]struct {
		lag, apart, every time.Duration // of the learner; between the two questions; between looks
		want              bool
	}{
		"at once, near":                 {20 * time.Millisecond, 2 * time.Millisecond, 50 * time.Millisecond, true},
		"at once, far away":             {50 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, true},
		"a second behind":               {time.Second, 2 * time.Millisecond, 50 * time.Millisecond, false},
		"a second behind, from afar":    {time.Second, 200 * time.Millisecond, 300 * time.Millisecond, false},
		"it follows, a minute too late": {time.Minute, 200 * time.Millisecond, 300 * time.Millisecond, false},
	} {
		var f following
		got, at := false, time.Duration(0)
		for range 100 {
			l := etcd.Lag{Applied: entries(at - c.lag), Committed: entries(at + c.apart)}
			got = got || f.saw(l, time.Unix(0, 0).Add(at))
			at += c.every
		}
		if got != c.want {
			t.Errorf("%s: close is %t", name, got)
		}
	}
	// Once is chance, and one that stands still is left behind.
	var f following
	if f.saw(etcd.Lag{Applied: 500, Committed: 500}, time.Unix(0, 0)) {
		t.Error("once was enough")
	}
	f = following{}
	for i := range 10 {
		if f.saw(etcd.Lag{Applied: 500, Committed: uint64(1000 * (i + 1))}, time.Unix(int64(i), 0)) {
			t.Error("it stands still")
		}
	}
}

// TestRefusedToTheEnd: the operator's stop, and the end of the time, are told as what
// they are while etcd says no, and with what it said.
func TestRefusedToTheEnd(t *testing.T) {
	ports, err := harness.ReservePorts(1) // nobody is there: etcd's "not yet"
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	p := plan(planner.Add{Name: "m2", PeerURLs: []string{"http://127.0.0.1:1"}, Endpoints: []string{ports.URL(0)}})
	p.Steps[0].TimeoutSeconds = 1
	var step *StepError
	r := runner(t, &stub{}, &lock{})
	if err := r.Run(t.Context(), p); !errors.Is(err, errTimeout) || !errors.As(err, &step) || step.Interrupted || !strings.Contains(err.Error(), "refused to the end") || !strings.Contains(err.Error(), "no endpoint gives the member list") {
		t.Errorf("at the end of its time: %v", err)
	}
	// So the runner looks again: what was sent may have been done.
	w := absent()
	r = checked(t, &stub{}, w)
	looks := 0
	w.changed = func(*world) { looks++ }
	if err := r.Run(t.Context(), p); err == nil || looks < 2 {
		t.Errorf("%d looks: %v", looks, err)
	}
	p.Steps[0].TimeoutSeconds = 60
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(700*time.Millisecond, cancel)
	if err := runner(t, &stub{}, &lock{}).Run(ctx, p); !errors.As(err, &step) || !step.Interrupted || !strings.Contains(err.Error(), "no endpoint gives the member list") {
		t.Errorf("interrupted: %v", err)
	}
	// Another reason stays another, though the time is over.
	end, stop := context.WithCancel(t.Context())
	said, asked := errors.New("it is the only voter"), 0
	err = runner(t, &stub{}, &lock{}).change(end, []string{ports.URL(0)}, func(c etcd.Cluster) error {
		if asked++; asked == 1 {
			_, _, err := c.ListMembers(end)
			return err
		}
		stop()
		return said
	})
	if !errors.Is(err, said) || errors.Is(err, errInterrupted) {
		t.Errorf("%v", err)
	}
}

// stuck is a host whose acts take until their time is over.
type stuck struct {
	stub
	begun func()
}

func (s *stuck) Stop(ctx context.Context, _ string, _ []planner.StopMember) error {
	s.begun()
	<-ctx.Done()
	return ctx.Err()
}

// TestActFailsAfterInterrupt: an act that did not get done in its time has failed, also
// where the operator wanted to stop after it: that is no safe point.
func TestActFailsAfterInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := runner(t, &stub{}, &lock{})
	r.Host = &stuck{begun: cancel}
	p := plan(planner.Stop{})
	p.Steps[0].TimeoutSeconds = 1
	var step *StepError
	if err := r.Run(ctx, p); !errors.As(err, &step) || step.Interrupted || !errors.Is(err, errTimeout) {
		t.Errorf("%v", err)
	}
}

// TestListedBy: who died meanwhile is not waited for; who answers otherwise is.
func TestListedBy(t *testing.T) {
	dead, other := "no answer in time", etcd.OtherList
	for name, c := range map[string]struct {
		by   listedBy
		yes  string
		no   map[string]string
		want bool
	}{
		"all":                            {listedBy{answering: true, one: "d"}, "a b c d", nil, true},
		"one is dead":                    {listedBy{answering: true, one: "d"}, "a b d", map[string]string{"c": dead}, true},
		"one has the old list":           {listedBy{answering: true, one: "d"}, "a b d", map[string]string{"c": other}, false},
		"that does not matter":           {listedBy{}, "a b d", map[string]string{"c": other}, true},
		"the promoted one does not know": {listedBy{answering: true, one: "d"}, "a b c", map[string]string{"d": dead}, false},
		"half":                           {listedBy{answering: true, one: "d"}, "a d", map[string]string{"b": dead, "c": dead}, false},
		"nobody":                         {listedBy{}, "", nil, false},
	} {
		if got := c.by.enough(strings.Fields(c.yes), c.no); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestAllAreAskedBeforeTaking: who gave no answer once is asked again before something
// is taken away, and who answered long ago too.
func TestAllAreAskedBeforeTaking(t *testing.T) {
	r := &Runner{Cluster: &spec.Cluster{Members: []spec.Member{{Name: "m1"}, {Name: "m2"}, {Name: "m3"}}}}
	r.Seen.Members = map[string]planner.MemberObservation{
		"m1": {Client: planner.Endpoint{Reach: planner.ReachServing}}, "m2": {Client: planner.Endpoint{Reach: planner.ReachServing}},
		"m3": {Client: planner.Endpoint{Reach: planner.ReachTimeout}},
	}
	for _, a := range planner.Actions() {
		all := slices.Contains([]string{"stop", "fence", "set-aside", "remove-member", "promote"}, a.Kind())
		got := r.wants(planner.Step{Action: a, Target: []string{"m1"}}).Endpoints
		if slices.Contains(got, "m3") != all || all && fmt.Sprint(got) != "[m1 m2 m3]" {
			t.Errorf("%s asks %v", a.Kind(), got)
		}
	}
}

// TestComparedIsOfTheEnd: a comparison is passed on only where nothing was begun after it.
func TestComparedIsOfTheEnd(t *testing.T) {
	r := runner(t, &stub{}, &lock{})
	r.Compared = planner.Known(planner.KVComparison{Equal: true})
	if err := r.Run(t.Context(), plan(planner.Install{})); err != nil || r.Compared.Known() {
		t.Errorf("%v, %+v", err, r.Compared)
	}
}
