package planner_test

import (
	"slices"
	"testing"

	"github.com/requorum/requorum/planner"
)

// What a member with data has otherwise only in words is no difference; what it would lose is.
func TestSettled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		have, want []string
		diff       string
	}{
		{[]string{"--force-new-cluster=false", "--initial-cluster-token=x"}, nil, ""},
		{[]string{"--data-dir=/d", "--wal-dir=/d/member/wal"}, []string{"--data-dir=/d"}, ""},
		{[]string{"--data-dir=/d", "--wal-dir=/w"}, []string{"--data-dir=/d"}, "- --wal-dir=/w"},
		{[]string{"--force-new-cluster=true"}, nil, "- --force-new-cluster=true"},
		{[]string{"--force-new-cluster"}, nil, "- --force-new-cluster"},
		{[]string{"--initial-election-tick-advance=false"}, nil, "- --initial-election-tick-advance=false"},
		{[]string{"--listen-client-http-urls=http://127.0.0.1:1"}, nil, "- --listen-client-http-urls=http://127.0.0.1:1"},
		{[]string{"--listen-client-urls=http://localhost:1"}, []string{"--listen-client-urls=http://127.0.0.1:1"}, ""},
	} {
		if diff := planner.SettingsDiff(c.have, c.want); diff != c.diff {
			t.Errorf("%v and %v: %q, not %q", c.have, c.want, diff, c.diff)
		}
	}
	flags := planner.Unsayable(map[string]string{
		"name": "m1", "data-dir": "/d", "listen-client-urls": "http://x:1", "listen-client-http-urls": "http://x:2", "force-new-cluster": "false",
		"initial-cluster": "m1=http://x:3", "initial-election-tick-advance": "false", "discovery-token": "t", "listen-metrics-urls": "http://x:4",
	})
	if !slices.Equal(flags, []string{"--listen-client-http-urls"}) {
		t.Errorf("can't be said: %v", flags)
	}
}
