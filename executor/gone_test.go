package executor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

func init() { glanceAtRunning, goneGrace = 300*time.Millisecond, 500*time.Millisecond }

// told is a host where the member's service is as it says.
type told struct {
	stub
	service planner.Service
}

func (s *told) Observe(_ context.Context, places []planner.Place) (map[string]host.Facts, error) {
	out := map[string]host.Facts{}
	for _, p := range places {
		out[p.Name] = host.Facts{Service: planner.Known(s.service)}
	}
	return out, nil
}

// A change is not waited for where a member that ran is gone, etcd and supervisor: it
// may be the one whose vote is needed.
func TestNobodyStartsItAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		now  planner.Service
		says string
	}{
		"gone":                         {planner.Service{State: planner.ServiceStopped}, "m2 was started, and does not run any more"},
		"given up":                     {planner.Service{State: planner.ServiceFailed, LastError: "disk"}, "m2 does not come up: disk"},
		"it runs, and had a bad night": {planner.Service{State: planner.ServiceRunning, Restarts: 100}, ""},
		"it is about to be started":    {planner.Service{State: planner.ServiceBackoff}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Runner{Host: &told{service: tc.now}, Cluster: &spec.Cluster{Members: []spec.Member{{Name: "m1"}, {Name: "m2"}}}}
			r.Seen.Members = map[string]planner.MemberObservation{
				"m1": {Service: planner.Known(planner.Service{State: planner.ServiceStopped})}, // it did not run then either
				"m2": {Service: planner.Known(planner.Service{State: planner.ServiceRunning})},
			}
			err := r.pollWhileRunning(within(t, goneGrace+4*glanceAtRunning), func() (string, error) { return "no quorum", nil })
			if got := strings.HasPrefix(err.Error(), tc.says); tc.says != "" && (!got || !strings.HasSuffix(err.Error(), "(no quorum)")) {
				t.Error(err)
			} else if tc.says == "" && (strings.Contains(err.Error(), "m2") || !strings.Contains(err.Error(), "no quorum")) {
				t.Error(err)
			}
		})
	}
}
