package rescue

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
)

const ours = "cdf818194e3a8c32"

// three is the member list of a cluster on one machine.
func three() []planner.ListedMember {
	return []planner.ListedMember{
		{ID: "a1", Name: "m1", PeerURLs: []string{"http://127.0.0.1:2380"}, ClientURLs: []string{"http://127.0.0.1:2379"}},
		{ID: "a2", Name: "m2", PeerURLs: []string{"http://127.0.0.1:2480"}, ClientURLs: []string{"http://127.0.0.1:2479"}},
		{ID: "a3", Name: "m3", PeerURLs: []string{"http://127.0.0.1:2580"}, ClientURLs: []string{"http://127.0.0.1:2579"}},
	}
}

// disk is a stopped member's, with a log up to last.
func disk(name, id string, last uint64, list []planner.ListedMember) Disk {
	return Disk{DataDir: "/data/" + name, Data: planner.Known(planner.DataDir{
		Path: "/data/" + name, State: planner.DirPresent, ClusterID: ours, MemberID: id, LastTerm: 3, LastIndex: last, Commit: last,
		StorageVersion: "3.7.0", Members: list,
	}), Service: planner.Known(planner.Service{State: planner.ServiceNone})}
}

// read makes the file, and checks that it can be read as what it was made from and
// is laid out as requorum fmt does it once that has run.
func read(t *testing.T, found Found) (*File, string, *spec.Cluster) {
	t.Helper()
	f, refusal := New(found)
	if refusal != nil {
		t.Fatalf("refused: %+v", refusal)
	}
	text, diags := load.Format([]byte(f.Text()), "rescued.hcl")
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, f.Text())
	}
	if again, _ := load.Format(text, "rescued.hcl"); !bytes.Equal(again, text) {
		t.Error("the layout is not final")
	}
	if second, _ := New(found); second.Text() != f.Text() {
		t.Error("the same findings give another file")
	}
	path := filepath.Join(t.TempDir(), "rescued.hcl")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := load.Load(path, load.Options{})
	if r.Cluster == nil {
		t.Fatalf("%s\n%s", r.Diags.Error(), text)
	}
	return f, string(text), r.Cluster
}

func members(c *spec.Cluster) string {
	var out []string
	for _, m := range c.Members {
		out = append(out, m.Name+"="+m.DataDir)
	}
	return strings.Join(out, " ")
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

func TestAllDisks(t *testing.T) {
	f, text, c := read(t, Found{Disks: []Disk{disk("m2", "a2", 90, three()), disk("m1", "a1", 100, three()), disk("m3", "a3", 100, three())}})
	if got := members(c); got != "m1=/data/m1 m2=/data/m2 m3=/data/m3" {
		t.Error(got)
	}
	if c.ID != ours || c.Etcd.Version != "3.7" || c.Snapshot != nil || c.Recover != nil || len(f.Missing) != 0 {
		t.Errorf("%+v", c)
	}
	if f.Survivors[0].Name != "m1" || f.Survivors[1].Name != "m3" || f.Survivors[2].Name != "m2" {
		t.Errorf("%+v", f.Survivors)
	}
	says(t, text, "m1: /data/m1, log to term 3 #100", "m2: /data/m2, log to term 3 #90")
	if strings.Contains(text, "without a disk") {
		t.Error(text)
	}
}

// The others' addresses are of this machine, so that they were here: where, the
// survivor's own place says.
func TestOneDiskOfThreeHere(t *testing.T) {
	f, text, c := read(t, Found{Disks: []Disk{disk("m1", "a1", 100, three())}})
	if got := members(c); got != "m1=/data/m1 m2=/data/m2 m3=/data/m3" {
		t.Error(got)
	}
	if len(f.Missing) != 2 || len(f.Survivors) != 1 {
		t.Errorf("%+v", f)
	}
	says(t, text, "m2: ID a2, peer URLs http://127.0.0.1:2480; its address is of this machine")
}

// Elsewhere nobody here knows where: a person fills it in.
func TestOneDiskOfThreeElsewhere(t *testing.T) {
	list := three()
	list[1].PeerURLs, list[2].PeerURLs = []string{"http://10.77.0.12:2380"}, []string{"http://10.77.0.13:2380"}
	_, text, c := read(t, Found{Disks: []Disk{disk("m1", "a1", 100, list)}})
	if got := members(c); got != "m1=/data/m1" {
		t.Error(got)
	}
	says(t, text, `  # member "m2" {`, `  #   peer_urls   = ["http://10.77.0.12:2380"]`, "m3: ID a3, peer URLs http://10.77.0.13:2380")
	// An address of the machine's own is as good as a loopback one.
	_, _, c = read(t, Found{Disks: []Disk{disk("m1", "a1", 100, list)}, Addresses: []string{"10.77.0.12"}})
	if got := members(c); got != "m1=/data/m1 m2=/data/m2" {
		t.Error(got)
	}
}

// A place that is no example is not guessed from.
func TestNoGuessWithoutAnExample(t *testing.T) {
	d := disk("m1", "a1", 100, three())
	d.DataDir = "/var/lib/etcd"
	_, text, c := read(t, Found{Disks: []Disk{d}})
	if got := members(c); got != "m1=/var/lib/etcd" {
		t.Error(got)
	}
	says(t, text, `  # member "m2" {`, `  # member "m3" {`)
}

func TestTwoClustersAreNeverMixed(t *testing.T) {
	other := disk("x1", "b1", 500, []planner.ListedMember{{ID: "b1", Name: "x1"}})
	other.Data.Value.ClusterID = "1234"
	_, r := New(Found{Disks: []Disk{disk("m1", "a1", 100, three()), other}})
	if r == nil || r.Code != planner.CodeSplitCluster {
		t.Fatalf("%+v", r)
	}
	says(t, r.Detail, "cluster "+ours+": /data/m1", "cluster 1234: /data/x1")
}

// A recovery that was killed half-way leaves disks of both identities.
func TestHalfRecovered(t *testing.T) {
	fenced := disk("m1", "a1", 100, three())
	was := fenced.Data.Value
	p := &planner.Provenance{Kind: planner.ProvenanceRecover, ClusterID: "1234", InitialCluster: "m1=http://127.0.0.1:2380,m2=http://127.0.0.1:2480"}
	fenced.Data = planner.Known(planner.DataDir{Path: "/data/m1", State: planner.DirFenced, Fenced: &was, Provenance: p})
	made := disk("m2", "b2", 2, nil)
	made.Data.Value.ClusterID, made.Data.Value.Provenance = "1234", p
	_, r := New(Found{Disks: []Disk{fenced, made}})
	if r == nil || r.Code != planner.CodeSplitCluster {
		t.Fatalf("%+v", r)
	}
	says(t, r.Remedy[0], "A new identity (recover) was begun here", p.InitialCluster)
}

func TestACopyIsRefused(t *testing.T) {
	twin := disk("m1", "a1", 90, three())
	twin.DataDir = "/backup/m1"
	_, r := New(Found{Disks: []Disk{disk("m1", "a1", 100, three()), twin}})
	if r == nil || r.Code != planner.CodeForeignData {
		t.Fatalf("%+v", r)
	}
	says(t, r.Detail, "/data/m1", "/backup/m1")
}

func TestRemovedMember(t *testing.T) {
	old := disk("old", "dead", 50, append(three(), planner.ListedMember{ID: "dead", Name: "old"}))
	_, text, c := read(t, Found{Disks: []Disk{old, disk("m1", "a1", 100, three()), disk("m2", "a2", 100, three())}})
	if got := members(c); got != "m1=/data/m1 m2=/data/m2 m3=/data/m3" {
		t.Error(got)
	}
	says(t, text, "/data/old is of member dead, which the cluster has removed (log to term 3 #50)")

	// Its disk alone is nothing that starts as it is.
	old.Data.Value.Members = three()
	if _, r := New(Found{Disks: []Disk{old}}); r == nil || r.Code != planner.CodeDataUnknown {
		t.Errorf("%+v", r)
	}
}

func TestFencedAndAside(t *testing.T) {
	d := disk("m1", "a1", 100, three())
	was := d.Data.Value
	d.Data = planner.Known(planner.DataDir{Path: "/data/m1", State: planner.DirFenced, Fenced: &was})
	d.Aside = []string{"/data/m1.requorum/aside/2026-11-21"}
	f, text, c := read(t, Found{Disks: []Disk{d}})
	if c.Members[0].DataDir != "/data/m1" || c.ID != ours || f.Survivors[0].Note != "behind requorum's fence" {
		t.Errorf("%+v", f)
	}
	says(t, text, "/data/m1.requorum/aside/2026-11-21 was moved out of the way")
}

// What can't be read is said, and never taken for absent.
func TestUnreadable(t *testing.T) {
	bad := Disk{DataDir: "/data/m2", Data: planner.Unknown[planner.DataDir]("open /data/m2: permission denied")}
	_, text, _ := read(t, Found{Disks: []Disk{bad, disk("m1", "a1", 100, three())}})
	says(t, text, "/data/m2 could not be read: open /data/m2: permission denied")
	_, r := New(Found{Disks: []Disk{bad}})
	if r == nil || r.Code != planner.CodeDataMissing || !strings.Contains(r.Detail, "permission denied") {
		t.Errorf("%+v", r)
	}
	if _, r := New(Found{}); r == nil || r.Code != planner.CodeDataMissing {
		t.Errorf("%+v", r)
	}
}

// Where requorum ran a member whose data is gone, what it keeps beside says so.
func TestLostPlaceThatRequorumKnew(t *testing.T) {
	d := disk("m1", "a1", 100, three())
	d.DataDir = "/var/lib/etcd"
	gone := Disk{DataDir: "/srv/two", Data: planner.Known(planner.DataDir{State: planner.DirAbsent, Evidence: []string{"requorum started a member here"}}), Service: planner.Known(planner.Service{State: planner.ServiceStopped,
		Args: []string{"--name=m2", "--initial-advertise-peer-urls=http://127.0.0.1:2480", "--listen-peer-urls=http://127.0.0.1:2480"}})}
	f, text, c := read(t, Found{Disks: []Disk{gone, d}})
	if got := members(c); got != "m1=/var/lib/etcd m2=/srv/two" || !f.Missing[0].Known || f.Missing[1].DataDir != "" {
		t.Errorf("%s %+v", got, f.Missing)
	}
	says(t, text, "requorum had it at /srv/two", "/srv/two is not there; requorum started a member here", `  # member "m3" {`)
}

// An older disk's list may have members that were removed since.
func TestTheNewestDiskHasTheList(t *testing.T) {
	newest := disk("m1", "a1", 100, nil)
	_, r := New(Found{Disks: []Disk{newest, disk("m2", "a2", 90, three())}})
	if r == nil || r.Code != planner.CodeDataUnknown {
		t.Fatalf("%+v", r)
	}
	newest.Data.Value.HeldBy, newest.Peers = 4711, three()[:2]
	f, _, c := read(t, Found{Disks: []Disk{newest, disk("m2", "a2", 90, three())}})
	if got := members(c); got != "m1=/data/m1 m2=/data/m2" || f.Survivors[0].Note != "an etcd runs on it" {
		t.Errorf("%s %+v", got, f.Survivors)
	}
}

func TestUnstartedLearnersAndTwinNames(t *testing.T) {
	list := append(three()[:2], planner.ListedMember{ID: "a4", PeerURLs: []string{"http://127.0.0.1:2680"}}, planner.ListedMember{ID: "a5", Name: "m1", Learner: true, PeerURLs: []string{"http://127.0.0.1:2780"}, ClientURLs: []string{"http://127.0.0.1:2779"}})
	l := disk("l1", "a5", 100, list)
	_, text, c := read(t, Found{Disks: []Disk{disk("m1", "a1", 100, list), disk("m2", "a2", 100, list), l}})
	if got := members(c); got != "m1=/data/m1 m1-a5=/data/l1 m2=/data/m2" || !c.Members[1].Learner {
		t.Error(got)
	}
	says(t, text, "member a4: ID a4, peer URLs http://127.0.0.1:2680, was added and never started", `  # member "m-a4" {`)
}

// What a running etcd was started with: its listeners, its WAL's place, its
// certificates, its binary.
func TestSettings(t *testing.T) {
	list := []planner.ListedMember{{ID: "a1", Name: "m1", PeerURLs: []string{"https://m1.example.com:2380"}, ClientURLs: []string{"https://m1.example.com:2379"}}}
	d := disk("m1", "a1", 100, list)
	d.WALDir = "/wal/m1"
	d.Process = &planner.Foreign{PID: 4711, Exe: "/opt/etcd/etcd", Settings: map[string]string{
		"name": "m1", "listen-peer-urls": "https://10.0.0.1:2380", "listen-client-urls": "https://10.0.0.1:2379,https://127.0.0.1:2379",
		"cert-file": "/tls/s.crt", "key-file": "/tls/s.key", "trusted-ca-file": "/tls/ca.crt",
		"peer-cert-file": "/tls/p.crt", "peer-key-file": "/tls/p.key", "peer-trusted-ca-file": "/tls/ca.crt",
	}}
	f, refusal := New(Found{Disks: []Disk{d}})
	if refusal != nil {
		t.Fatal(refusal)
	}
	says(t, f.Text(), `wal_dir = "/wal/m1"`, `listen_peer_urls = ["https://10.0.0.1:2380"]`, `listen_client_urls = ["https://10.0.0.1:2379", "https://127.0.0.1:2379"]`,
		`cert = "/tls/s.crt"`, `cert = "/tls/p.crt"`, `binary = "/opt/etcd/etcd"`, "tls { requorum")
	// Nothing seen of it: a listener has to be an address all the same.
	d.Process = nil
	f, _ = New(Found{Disks: []Disk{d}})
	says(t, f.Text(), `listen_peer_urls = ["https://0.0.0.0:2380"]`, "listen_peer_urls of m1 is a guess", "nothing here tells the certificates")
}

func TestOlderData(t *testing.T) {
	d := disk("m1", "a1", 100, three()[:1])
	d.Data.Value.StorageVersion, d.Data.Value.ClusterVersion = "", "3.5.0"
	d.Service.Value.Cluster = "infra"
	_, _, c := read(t, Found{Disks: []Disk{d}})
	if c.Etcd.Version != "3.5" || c.Name != "infra" {
		t.Errorf("%+v", c)
	}
}

// Names come from disks: none of them is a template, or ends a comment.
func TestNamesAreQuoted(t *testing.T) {
	list := three()[:2]
	list[0].Name = `m"${file("/etc/passwd")}\`
	list[1].Name, list[1].PeerURLs = "m2\n}\nevil {", []string{"http://10.0.0.9:2380"}
	f, refusal := New(Found{Disks: []Disk{disk("m1", "a1", 100, list)}})
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, diags := load.Format([]byte(f.Text()), "x.hcl"); diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, f.Text())
	}
	for _, line := range strings.Split(f.Text(), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "evil") {
			t.Errorf("a name wrote a line of its own:\n%s", f.Text())
		}
	}
	says(t, f.Text(), `$${file`)
}
