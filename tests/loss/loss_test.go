package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestSlice runs a few rounds on the etcd inside requorum; 200 of all versions are
// `make loss`. So few may be void: the control need not lose anything in them.
func TestSlice(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for n, behind := range []bool{false, true, false} {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			t.Parallel()
			l := round(uint64(n+1), harness.Inside(), behind, folder)
			t.Log(l)
			if l.failed() || l.Acknowledged < 100 {
				t.Errorf("%+v", l)
			}
		})
	}
}

// A round that lost a write, or promised one, or failed, is never counted as well,
// whatever else the tally has; and a run whose control lost nothing is void.
func TestTallyTells(t *testing.T) {
	good := line{Seed: 1, Version: "3.7.3", Arm: newest, Acknowledged: 300, ControlLost: 2}
	for name, tc := range map[string]struct {
		lines []line
		says  string
		bad   bool
	}{
		"well":                 {[]line{good}, "rounds=1 acknowledged=300 lost=0 control_lost=2", false},
		"the control is whole": {[]line{{Seed: 1, Arm: newest, Acknowledged: 300}}, "void=true", true},
		"a write is lost":      {[]line{good, {Seed: 2, Arm: newest, Acknowledged: 10, Lost: 1}}, "acknowledged=310 lost=1", true},
		"known to be behind":   {[]line{good, {Seed: 2, Arm: behind, Lost: 4, Said: "unknown"}}, "behind_rounds=1 behind_lost=4", false},
		"promised and gone":    {[]line{good, {Seed: 2, Arm: behind, Lost: 4, Understated: 1}}, "understated=1", true},
		"a failed round":       {[]line{good, {Seed: 2, Arm: behind, Error: "refused"}}, "errors=1", true},
		"only the other arm":   {[]line{{Seed: 2, Arm: behind, Lost: 4, ControlLost: 4}}, "void=true", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := report(&out, tc.lines)
			if (err != nil) != tc.bad || !strings.Contains(out.String(), tc.says) {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}
