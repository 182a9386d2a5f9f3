package local

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
		"claim":   {func(t *testing.T, l host.Layout, _ string) { must(t, record(context.Background(), l, prov)) }, ""},
		"service of the claim": {func(t *testing.T, l host.Layout, _ string) {
			must(t, record(context.Background(), l, prov))
			put(t, l.Service(), `{"name":"m1","cluster_id":"1","member_id":"2"}`)
		}, ""},
		"staging": {func(t *testing.T, l host.Layout, _ string) {
			must(t, record(context.Background(), l, prov))
			put(t, filepath.Join(l.StagingData(), "member/x"), "")
			put(t, l.StagingDone(), "token-one")
		}, ""},
		"ran":          {func(t *testing.T, l host.Layout, _ string) { put(t, l.Ran(), `{"token":"token-one"}`) }, "requorum started a member here"},
		"ran, damaged": {func(t *testing.T, l host.Layout, _ string) { put(t, l.Ran(), `{`) }, "requorum started a member here"},
		"ran earlier": {func(t *testing.T, l host.Layout, _ string) {
			put(t, l.Ran(), `{"token":"token-zero"}`)
			must(t, record(context.Background(), l, prov))
		}, "requorum started an earlier member here"},
		"ran earlier, crash before its marker moved": {func(t *testing.T, l host.Layout, _ string) {
			put(t, l.Ran(), `{"token":"token-zero"}`)
			must(t, writeProvenance(context.Background(), l, prov))
		}, "requorum started an earlier member here"},
		"ran earlier, marker damaged": {func(t *testing.T, l host.Layout, _ string) {
			put(t, l.Ran()+".zero", `{`)
			must(t, record(context.Background(), l, prov))
		}, "requorum started an earlier member here"},
		"killed twice while staging": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one", "token-two", "token-three")
			put(t, filepath.Join(l.StagingData(), "member/x"), "")
		}, ""},
		"ran, deleted, then abandoned twice": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one")
			put(t, l.Ran(), `{"token":"token-one"}`)
			claims(t, l, prov, "token-two", "token-three")
		}, "record of earlier data"},
		"bootstrapped, ran, deleted, then abandoned twice": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one")
			mark(t, l, "token-one")
			put(t, filepath.Join(l.DataDir, "member/snap/db"), "data")
			must(t, os.RemoveAll(l.DataDir))
			claims(t, l, prov, "token-two")
			mark(t, l, "token-two")
			claims(t, l, prov, "token-three")
		}, "record of earlier data"},
		"bootstrapped, ran, emptied": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one")
			mark(t, l, "token-one")
			put(t, filepath.Join(l.DataDir, "member"), "data")
			must(t, os.Remove(filepath.Join(l.DataDir, "member")))
			claims(t, l, prov, "token-two", "token-three")
		}, "record of earlier data"},
		"etcd wrote nothing, once": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one")
			mark(t, l, "token-one")
		}, ""},
		"etcd wrote nothing, twice": {func(t *testing.T, l host.Layout, _ string) {
			for _, token := range []string{"token-one", "token-two"} {
				claims(t, l, prov, token)
				put(t, l.Service(), `{"name":"m1","token":"`+token+`","cluster_id":"1","member_id":"of-`+token+`"}`)
				mark(t, l, token)
			}
			claims(t, l, prov, "token-three")
		}, ""},
		"etcd wrote nothing, and the empty directory was removed after another claim": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one")
			mark(t, l, "token-one")
			claims(t, l, prov, "token-two")
			must(t, os.Remove(l.DataDir))
		}, ""},
		"etcd wrote nothing, marker moved by an earlier version": {func(t *testing.T, l host.Layout, _ string) {
			claims(t, l, prov, "token-one")
			mark(t, l, "token-one")
			must(t, os.Rename(l.Ran(), l.Ran()+".requorum"))
			claims(t, l, prov, "token-two")
		}, ""},
		"service of a token that ran": {func(t *testing.T, l host.Layout, _ string) {
			put(t, l.Service(), `{"name":"m1","token":"token-zero","cluster_id":"1","member_id":"9"}`)
			put(t, l.Ran(), `{"token":"token-zero"}`)
			claims(t, l, prov, "token-one")
		}, "has a service for it"},
		"earlier record damaged": {func(t *testing.T, l host.Layout, _ string) {
			put(t, l.Provenance(), `{`)
			must(t, record(context.Background(), l, prov))
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
		"unit with a file by its name": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "default/etcd"), `ETCD_DATA_DIR="`+l.DataDir+`"`)
			put(t, filepath.Join(etc, "systemd/system/multi-user.target.wants/etcd.service"), "EnvironmentFile=-"+etc+"/default/%p\n")
		}, "the enabled unit etcd.service"},
		"unit with a drop-in": {func(t *testing.T, l host.Layout, etc string) {
			put(t, filepath.Join(etc, "systemd/system/multi-user.target.wants/etcd.service"), "ExecStart=/usr/bin/etcd\n")
			put(t, filepath.Join(etc, "systemd/system/etcd.service.d/zz.conf"), "ExecStart=\nExecStart=/usr/bin/etcd \\\n    --data-dir="+l.DataDir+" \\\n    --x\n")
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
			d := &Driver{etc: filepath.Join(dir, "etc"), locks: map[string]*placeLock{}}
			l := host.LayoutOf(filepath.Join(dir, "disk 1 [a]*", "m1"), "")
			must(t, os.MkdirAll(filepath.Dir(l.DataDir), 0o700))
			c.make(t, l, d.etc)
			f := d.observe(t.Context(), planner.Place{Name: "m1", DataDir: l.DataDir})
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

// claims records one token after the other, each of another member.
func claims(t *testing.T, l host.Layout, prov planner.Provenance, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		prov.Token, prov.MemberID = token, "of-"+token
		must(t, record(context.Background(), l, prov))
	}
}

// mark does what the supervisor does before it starts the etcd of a bootstrap.
func mark(t *testing.T, l host.Layout, token string) {
	t.Helper()
	must(t, os.MkdirAll(l.DataDir, 0o700))
	time.Sleep(25 * time.Millisecond) // a change must show
	var st unix.Stat_t
	must(t, unix.Stat(l.DataDir, &st))
	b, err := json.Marshal(process.Ran{Token: token, Empty: &process.Seal{Inode: st.Ino, Change: st.Ctim.Nano()}})
	must(t, err)
	put(t, l.Ran(), string(b))
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
	must(t, record(context.Background(), l, one))
	put(t, l.Ran(), `{"token":"token-one"}`)
	must(t, writeProvenance(context.Background(), l, two)) // crash before the marker moves
	if ran, err := hasRun(l, &two); ran || err != nil {
		t.Errorf("the new identity ran: %v", err)
	}
	must(t, record(context.Background(), l, two))
	if _, err := process.ReadRan(l); !notExist(err) {
		t.Error("the marker did not move")
	}
	if ms, err := process.Markers(l); err != nil || len(ms) != 1 || ms[0].Path != l.Ran()+".token-one" {
		t.Errorf("the marker is gone: %+v, %v", ms, err)
	}
	three := two
	three.ClusterID = "5"
	if record(context.Background(), l, three) == nil {
		t.Error("one token for two identities")
	}
}

func TestShortToken(t *testing.T) {
	for token, want := range map[string]string{
		"requorum-0123456789abcdef": "0123456789ab", "requorum-": "unknown", "": "unknown",
		"token-one": "token-one", "../../x": "unknown",
	} {
		if got := shortToken(token); got != want {
			t.Errorf("%q: %q, want %q", token, got, want)
		}
	}
}
