package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// TestEvidence lists what says that data should be where none is (S6), and what
// does not say so.
func TestEvidence(t *testing.T) {
	prov := planner.Provenance{Kind: planner.ProvenanceBootstrap, Token: "token-one", ClusterID: "1", MemberID: "2"}
	for name, c := range map[string]struct {
		make func(t *testing.T, l host.Layout, etc string)
		want string // "" for no evidence
	}{
		"nothing": {func(*testing.T, host.Layout, string) {}, ""},
		"claim":   {func(t *testing.T, l host.Layout, _ string) { must(t, record(l, prov)) }, ""},
		"service of the claim": {func(t *testing.T, l host.Layout, _ string) {
			must(t, record(l, prov))
			put(t, l.Service(), `{"name":"m1","cluster_id":"1","member_id":"2"}`)
		}, ""},
		"staging": {func(t *testing.T, l host.Layout, _ string) {
			must(t, record(l, prov))
			put(t, filepath.Join(l.StagingData(), "member/x"), "")
			put(t, l.StagingDone(), "token-one")
		}, ""},
		"ran":          {func(t *testing.T, l host.Layout, _ string) { put(t, l.Ran(), `{"token":"token-one"}`) }, "requorum started a member here"},
		"ran, damaged": {func(t *testing.T, l host.Layout, _ string) { put(t, l.Ran(), `{`) }, "requorum started a member here"},
		"ran earlier": {func(t *testing.T, l host.Layout, _ string) {
			put(t, l.Ran(), `{"token":"token-zero"}`)
			must(t, record(l, prov))
		}, "requorum started an earlier member here"},
		"claimed twice": {func(t *testing.T, l host.Layout, _ string) {
			must(t, record(l, prov))
			other := prov
			other.Token = "token-two"
			must(t, record(l, other))
		}, "record of earlier data"},
		"record damaged": {func(t *testing.T, l host.Layout, _ string) { put(t, l.Provenance(), `{`) }, "can't be read"},
		"service":        {func(t *testing.T, l host.Layout, _ string) { put(t, l.Service(), `{"name":"m1"}`) }, "has a service for it"},
		"moved aside":    {func(t *testing.T, l host.Layout, _ string) { put(t, filepath.Join(l.Aside(), "x/data/member/y"), "") }, "moved aside"},
		"was mounted":    {func(t *testing.T, l host.Layout, _ string) { put(t, filepath.Join(l.DataDir, ".requorum/ran"), "{}") }, "elsewhere"},
		"fstab": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "fstab"), "# c\n/dev/sdb "+strings.ReplaceAll(filepath.Dir(l.DataDir), " ", `\040`)+" ext4 defaults 0 2\n")
		}, "nothing is mounted there"},
		"fstab, of others": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "fstab"), "/dev/sda / ext4\n/dev/sdb "+l.DataDir+"2 ext4\nproc /proc proc\n")
		}, ""},
		"mount unit": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "systemd/system/x.mount"), "[Mount]\nWhat=/dev/x\nWhere="+l.DataDir+"\n")
		}, "nothing is mounted there"},
		"unit": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "systemd/system/multi-user.target.wants/etcd.service"), "ExecStart=/usr/bin/etcd --data-dir="+l.DataDir+" --x\n")
		}, "the enabled unit etcd.service"},
		"unit with a file": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "default/etcd"), `ETCD_DATA_DIR="`+l.DataDir+`"`)
			put(t, filepath.Join(etc, "systemd/system/multi-user.target.wants/etcd.service"), "EnvironmentFile=-"+etc+"/default/etcd\n")
		}, "the enabled unit etcd.service"},
		"unit of others": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "systemd/system/multi-user.target.wants/etcd.service"), "ExecStart=/usr/bin/etcd --data-dir="+l.DataDir+"2\n")
		}, ""},
		"static pod": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "kubernetes/manifests/etcd.yaml"), "    - --data-dir="+l.DataDir+"\n")
		}, "static pod"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := &Driver{etc: filepath.Join(dir, "etc")}
			l := host.LayoutOf(filepath.Join(dir, "disk 1", "m1"), "")
			must(t, os.MkdirAll(filepath.Dir(l.DataDir), 0o700))
			c.make(t, l, d.etc)
			f := d.observe(planner.Place{Name: "m1", DataDir: l.DataDir})
			if !f.Data.Known() {
				t.Fatal(f.Data.Why)
			}
			got := strings.Join(f.Data.Value.Evidence, "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("evidence %q, want %q", got, c.want)
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// A record that is interrupted between its writes never makes a place that ran
// look like one that never did.
func TestRecordKeepsWhatRan(t *testing.T) {
	l := host.LayoutOf(filepath.Join(t.TempDir(), "m1"), "")
	one := planner.Provenance{Token: "token-one", ClusterID: "1", MemberID: "2"}
	two := planner.Provenance{Token: "token-two", ClusterID: "3", MemberID: "4"}
	must(t, record(l, one))
	put(t, l.Ran(), `{"token":"token-one"}`)
	must(t, writeProvenance(l, two)) // crash before the marker moves
	if ran, err := hasRun(l, &two); ran || err != nil {
		t.Errorf("the new identity ran: %v", err)
	}
	must(t, record(l, two))
	if _, err := process.ReadRan(l); !notExist(err) {
		t.Error("the marker did not move")
	}
	if len(glob(l.Ran()+".*")) != 1 {
		t.Error("the marker is gone")
	}
	three := two
	three.ClusterID = "5"
	if record(l, three) == nil {
		t.Error("one token for two identities")
	}
}
