package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// wanted leaves a test out where the user said so.
func wanted(t *testing.T) {
	t.Helper()
	if os.Getenv("REQUORUM_E2E") == "off" {
		t.Skip("REQUORUM_E2E=off: nothing was tried on hosts")
	}
}

// onlyFull leaves a test to make e2e.
func onlyFull(t *testing.T) {
	t.Helper()
	wanted(t)
	if os.Getenv("REQUORUM_E2E") != "full" {
		t.Skip("a part of make e2e (REQUORUM_E2E=full)")
	}
}

// A cluster that somebody installed from Debian's package serves, and a host without
// power stalls it for an election at most: what all other scenarios stand on.
func TestByHandPackaged(t *testing.T) {
	wanted(t)
	t.Parallel()
	b := bed.New(t, bed.Options{})
	began := time.Now()
	c := b.ByHand(bed.Install{})
	t.Logf("a cluster of Debian's etcd serves after %s", time.Since(began).Round(time.Millisecond))
	base := harness.Fill(t, c.Endpoints(), 1000)
	w := harness.StartWriters(t, 4, c.Endpoints())
	w.Await(t, 200)
	leader := c.Leader()
	b.Host(leader).PowerOff()
	w.Await(t, 200)
	b.Host(leader).PowerOn()
	c.AwaitServing()
	w.Await(t, 200)
	t.Logf("%d writes acknowledged, %d failed, longest gap %s", w.Acked(), len(w.Failed()), w.Gap())
	w.Check(t, base, c.Endpoints())
	if w.Gap() < 500*time.Millisecond {
		t.Errorf("the leader lost its power, and the longest gap was %s", w.Gap())
	}
}

// A power-off of all hosts at the same moment loses nothing that was acknowledged.
func TestByHandPowerOffOfAll(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{})
	c := b.ByHand(bed.Install{})
	base := harness.Fill(t, c.Endpoints(), 1000)
	w := harness.StartWriters(t, 8, c.Endpoints())
	w.Await(t, 500)
	b.PowerOff()
	b.PowerOn()
	c.AwaitServing()
	w.Check(t, base, c.Endpoints())
}

// Each way that people set a member up serves, in each version, and comes back after
// a reboot.
func TestByHandStyles(t *testing.T) {
	onlyFull(t)
	for i, style := range bed.Styles {
		minors := harness.Minors[1:]
		if style == bed.Packaged {
			minors = harness.Minors[:1]
		}
		for j, minor := range minors {
			t.Run(fmt.Sprintf("%s-%s", style, minor), func(t *testing.T) {
				t.Parallel()
				b := bed.New(t, bed.Options{Etcds: []string{minor}})
				c := b.ByHand(bed.Install{Style: style, Minor: minor})
				base := harness.Fill(t, c.Endpoints(), 1000)
				w := harness.StartWriters(t, 2, c.Endpoints())
				w.Await(t, 100)
				before := c.Started()
				h := c.Hosts()[(i+j)%3]
				h.Reboot()
				c.AwaitServing()
				w.Await(t, 100)
				for name, now := range c.Started() {
					if (now != before[name]) != (name == h.Name) {
						t.Errorf("%s was rebooted; the service of %s began %q, then %q", h.Name, name, before[name], now)
					}
				}
				for _, ep := range c.Endpoints() {
					if v := harness.Status(t, ep).Version; len(v) < 3 || v[:3] != minor {
						t.Errorf("%s runs %s", ep, v)
					}
				}
				w.Check(t, base, c.Endpoints())
			})
		}
	}
}
