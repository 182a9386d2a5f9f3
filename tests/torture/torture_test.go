package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// op is an operation from one time to another; -1 is one whose end nobody saw.
func op(client int, r request, from, to int64, got string) porcupine.Operation {
	if to < 0 {
		to = math.MaxInt64
	}
	return porcupine.Operation{ClientId: client, Input: r, Call: from, Return: to, Output: got}
}

// The checker tells a history that a register can have from one that it can't.
func TestHistoryIsJudged(t *testing.T) {
	put := func(v string) request { return request{key: "k", value: v, put: true} }
	get := request{key: "k"}
	for name, tc := range map[string]struct {
		ops []porcupine.Operation
		bad bool
	}{
		"well":                            {[]porcupine.Operation{op(0, put("a"), 0, 1, ""), op(1, get, 2, 3, "a")}, false},
		"an acknowledged write is lost":   {[]porcupine.Operation{op(0, put("a"), 0, 1, ""), op(1, get, 2, 3, "")}, true},
		"a stale read":                    {[]porcupine.Operation{op(0, put("a"), 0, 1, ""), op(0, put("b"), 2, 3, ""), op(1, get, 4, 5, "a")}, true},
		"unknown, and done":               {[]porcupine.Operation{op(0, put("a"), 0, -1, ""), op(1, get, 9, 10, "a")}, false},
		"unknown, and not done":           {[]porcupine.Operation{op(0, put("a"), 0, -1, ""), op(1, get, 9, 10, "")}, false},
		"unknown, done and undone":        {[]porcupine.Operation{op(0, put("a"), 0, -1, ""), op(1, get, 3, 4, "a"), op(1, get, 9, 10, "")}, true},
		"a value from nowhere":            {[]porcupine.Operation{op(1, get, 9, 10, "x")}, true},
		"another key does not matter":     {[]porcupine.Operation{op(0, put("a"), 0, 1, ""), op(1, request{key: "other"}, 2, 3, "")}, false},
		"two at once, in whichever order": {[]porcupine.Operation{op(0, put("a"), 0, 5, ""), op(1, put("b"), 1, 4, ""), op(2, get, 6, 7, "a")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := check(tc.ops); (err != nil) != tc.bad {
				t.Errorf("%v", err)
			}
		})
	}
}

// A round counts only where its fault came during a step, and 500 writes were
// acknowledged; one that failed is never passed over.
func TestShowTells(t *testing.T) {
	good := line{Seed: 1, Target: "restart", During: 1, Writes: leastWrites}
	for name, tc := range map[string]struct {
		lines []line
		says  string
		bad   bool
	}{
		"well":                 {[]line{good}, "rounds=1 counted=1 failed=0", false},
		"beside the steps":     {[]line{good, {Seed: 2, Writes: 900}}, "rounds=2 counted=1", false},
		"hardly any writes":    {[]line{good, {Seed: 2, During: 1, Writes: leastWrites - 1}}, "rounds=2 counted=1", false},
		"nothing counts":       {[]line{{Seed: 2, During: 1}}, "counted=0", true},
		"failed, not counting": {[]line{good, {Seed: 2, Error: "lost"}}, "failed=1", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := show(&out, tc.lines)
			if (err != nil) != tc.bad || !strings.Contains(out.String(), tc.says) {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// The exit code of the apply that was tortured is held to its contract.
func TestExitIsJudged(t *testing.T) {
	for name, tc := range map[string]struct {
		exit   int
		fault  string
		synced bool
		bad    bool
	}{
		"all done":                      {0, "freeze a member", true, false},
		"all done, and not in sync":     {0, "freeze a member", false, true},
		"its member has no supervisor":  {0, "kill a member and its supervisor", false, false},
		"stopped part-way":              {7, "fill a disk", false, false},
		"refused":                       {6, "slow a member", false, false},
		"killed":                        {-1, "kill requorum", false, false},
		"ended by a signal of nobody's": {-1, "freeze requorum", false, true},
		"a panic":                       {2, "freeze a member", false, true},
		"declined":                      {3, "freeze a member", false, true},
		"interrupted":                   {8, "freeze a member", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := line{Exit: tc.exit, Faults: []struck{{Fault: tc.fault}}}
			if why := l.breaks(tc.synced); (why != "") != tc.bad {
				t.Errorf("%q", why)
			}
		})
	}
}

// regressions are the seeds of rounds that found something, with what it was, and one
// that found nothing. What needs a busy machine to show has a test of the planner's too.
var regressions = []struct {
	seed uint64
	what string
}{
	{2, "a member frozen and requorum killed while a cluster grows"},
	{247, "one of two voters and its supervisor killed while a third is promoted: with all disks here it was refused as membership-in-doubt"},
	{269, "a learner started while the only voter was cut off: what it left was in its own way"},
	{187, "a learner was started while the quorum was lost, and ended without a log: planned was to start it again under its ID, which is refused"},
	{208, "a learner and its supervisor killed while it is promoted: the promotion was waited for to its end"},
	{136, "one of two voters and its supervisor killed while a third is promoted: the promotion was waited for to its end"},
	{3, "five members on a machine too busy to answer in time: a disk was said to be put back, and a recovery was planned"},
}

// TestRegressions runs these rounds again; all others are `make torture`.
func TestRegressions(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, r := range regressions {
		t.Run(fmt.Sprint(r.seed), func(t *testing.T) {
			t.Parallel()
			l := round(r.seed, folder)
			t.Logf("%s: %s", r.what, l)
			if l.Error != "" || l.Writes < leastWrites {
				t.Errorf("%s", l)
			}
		})
	}
}

// What a seed stands for stays as it is only as long as nobody reorders these.
func TestSeedsKeepTheirMeaning(t *testing.T) {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	want := []string{"kill a member", "kill a member and its supervisor", "kill requorum", "freeze requorum", "freeze a member", "slow a member",
		"fill a disk", "a disk read-only", "cut a member off its peers", "cut all members off each other", "cut a member off its clients"}
	if !slices.Equal(names, want) {
		t.Errorf("the faults are %q", names)
	}
	want = []string{"grow 1 to 3", "grow 3 to 5", "shrink 3 to 1", "replace", "move", "restart", "recover"}
	if got := allTargets(); !slices.Equal(got, want) {
		t.Errorf("the targets are %q", got)
	}
}
