package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"

	"github.com/requorum/requorum/spec"
)

// folder writes files and gives the folder they are in.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, src := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// rendered gives everything a user could see of a result.
func rendered(t testing.TB, r Result) string {
	t.Helper()
	var b bytes.Buffer
	for _, color := range []bool{false, true} {
		if err := WriteDiagnostics(&b, r, 100, color); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(&b, "%+v\n", DiagnosticsJSON(r.Diags))
	for _, f := range r.Files {
		b.Write(f.Bytes)
	}
	return b.String()
}

func mustLoad(t testing.TB, path string, opts Options) *spec.Cluster {
	t.Helper()
	r := Load(path, opts)
	if r.Diags.HasErrors() || r.Cluster == nil {
		t.Fatalf("does not load:\n%s", rendered(t, r))
	}
	return r.Cluster
}

// errorLines gives "line summary" for each diagnostic.
func errorLines(diags hcl.Diagnostics) []string {
	var list []string
	for _, d := range diags {
		line := 0
		if d.Subject != nil {
			line = d.Subject.Start.Line
		}
		kind := ""
		if d.Severity == hcl.DiagWarning {
			kind = "warning: "
		}
		list = append(list, fmt.Sprintf("%d %s%s", line, kind, d.Summary))
	}
	return list
}

const minimal = `cluster "demo" {
  member "m1" {
    peer_urls   = ["http://127.0.0.1:2380"]
    client_urls = ["http://127.0.0.1:2379"]
    data_dir    = "data/m1"
  }
  snapshot { source = "snapshot.db" }
}
`

func TestMinimal(t *testing.T) {
	dir := folder(t, map[string]string{"requorum.hcl": minimal})
	file := filepath.Join(dir, "requorum.hcl")
	want := &spec.Cluster{
		Name: "demo",
		Members: []spec.Member{{
			Name: "m1", DataDir: filepath.Join(dir, "data/m1"),
			PeerURLs: []string{"http://127.0.0.1:2380"}, ClientURLs: []string{"http://127.0.0.1:2379"},
			ListenPeerURLs: []string{"http://127.0.0.1:2380"}, ListenClientURLs: []string{"http://127.0.0.1:2379"},
			Pos: spec.Position{File: file, Line: 2, Column: 3},
		}},
		Snapshot: &spec.Snapshot{
			Source: filepath.Join(dir, "snapshot.db"), MarkCompacted: true,
			Pos: spec.Position{File: file, Line: 7, Column: 3}, SourcePos: spec.Position{File: file, Line: 7, Column: 23},
		},
		Dir: dir,
		Pos: spec.Position{File: file, Line: 1, Column: 1},
	}
	for _, path := range []string{dir, file} {
		if diff := cmp.Diff(want, mustLoad(t, path, Options{}), secrets); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

var secrets = cmp.Comparer(func(a, b spec.Secret) bool { return a.Reveal() == b.Reveal() })

const full = `variable "backup" { type = string }

variable "password" {
  type      = string
  sensitive = true
}

locals {
  address = { m1 = "10.77.0.11", m2 = "10.77.0.12", m3 = "10.77.0.13" }
}

host "node" {
  for_each = local.address
  name     = each.key
  address  = each.value
  ssh { user = "ops" }
  service "systemd" { unit = "etcd" }
}

cluster "inf-platform" {
  id = "0x00CDF818194e3a8c"

  etcd {
    version = "3.6"
    binary  = "/opt/etcd-{minor}/../etcd-{minor}/etcd"
    config = {
      quota-backend-bytes     = 8589934592
      auto-compaction-mode    = "periodic"
      log-outputs             = ["stderr", "/var/log/etcd.log"]
      enable-pprof            = true
      watch-progress-notify-interval = "5m"
    }
  }

  member "any" {
    for_each           = local.address
    name               = each.key
    host               = each.key
    peer_urls          = ["https://${each.key}.example.com:2380"]
    client_urls        = ["https://${host[each.key].address}:2379"]
    listen_peer_urls   = ["https://${each.value}:2380"]
    data_dir           = "/var/lib/etcd"
    wal_dir            = "/wal/etcd"
  }
  member "l1" {
    host        = "here"
    peer_urls   = ["https://10.77.0.14:2380"]
    client_urls = ["https://10.77.0.14:2379"]
    data_dir    = "/data"
    learner     = true
    tls {
      peer {
        ca   = "/pki/peers.crt"
        cert = "/pki/${"l1"}.crt"
        key  = "/pki/l1.key"
      }
    }
  }

  snapshot {
    source          = var.backup
    sha256          = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
    skip_hash_check = true
    revision_bump   = 2000000000
    identity        = "keys/age.txt"
  }
  recover {
    from     = "m1"
    in_place = true
  }
  tls {
    client {
      ca   = "/pki/ca.crt"
      cert = "/pki/client.crt"
      key  = "/pki/client.key"
    }
    peer {
      cert = "/pki/peer.crt"
      key  = "/pki/peer.key"
    }
    requorum {
      ca = "pki/ca.crt"
      peer { ca = "pki/peers.crt" }
    }
  }
  auth {
    username = "root"
    password = var.password
  }
  policy {
    min_fault_tolerance = 1
    snapshot_before     = "membership"
    prevent             = ["stale-watchers", "tail-drop"]
    strict              = true
  }
}

host "here" {
  address = "localhost"
  service "command" {
    start  = ["sv", "up", "etcd"]
    stop   = ["sv", "down", "etcd"]
    status = ["sv", "status", "etcd"]
  }
}
`

func TestFull(t *testing.T) {
	dir := folder(t, map[string]string{"a.hcl": full})
	c := mustLoad(t, dir, Options{Vars: []string{"backup=https://backups.example.com/etcd.db", "password=pa=ss"}})

	node := func(n int) spec.Host {
		return spec.Host{Name: fmt.Sprintf("m%d", n), Address: fmt.Sprintf("10.77.0.1%d", n), Access: spec.AccessSSH,
			SSH: &spec.SSH{User: "ops"}, Service: spec.Service{Kind: spec.ServiceSystemd, Unit: "etcd.service"}}
	}
	voter := func(n int) spec.Member {
		peer, client := []string{fmt.Sprintf("https://m%d.example.com:2380", n)}, []string{fmt.Sprintf("https://10.77.0.1%d:2379", n)}
		return spec.Member{Name: fmt.Sprintf("m%d", n), Host: fmt.Sprintf("m%d", n), PeerURLs: peer, ClientURLs: client,
			ListenPeerURLs: []string{fmt.Sprintf("https://10.77.0.1%d:2380", n)}, ListenClientURLs: client,
			DataDir: "/var/lib/etcd", WALDir: "/wal/etcd", TLS: &spec.TLS{
				Client: &spec.KeyPair{CA: "/pki/ca.crt", Cert: "/pki/client.crt", Key: "/pki/client.key"},
				Peer:   &spec.KeyPair{Cert: "/pki/peer.crt", Key: "/pki/peer.key"}}}
	}
	bump := int64(2_000_000_000)
	l1peer, l1client := []string{"https://10.77.0.14:2380"}, []string{"https://10.77.0.14:2379"}
	want := &spec.Cluster{
		Name: "inf-platform", ID: "cdf818194e3a8c", Dir: dir,
		Etcd: spec.Etcd{Version: "3.6", Binary: "/opt/etcd-{minor}/etcd", Config: map[string]string{
			"quota-backend-bytes": "8589934592", "auto-compaction-mode": "periodic",
			"log-outputs": "stderr,/var/log/etcd.log", "enable-pprof": "true", "watch-progress-notify-interval": "5m"}},
		Members: []spec.Member{voter(1), voter(2), voter(3),
			{Name: "l1", Host: "here", PeerURLs: l1peer, ClientURLs: l1client, ListenPeerURLs: l1peer, ListenClientURLs: l1client, DataDir: "/data", Learner: true, TLS: &spec.TLS{
				Client: &spec.KeyPair{CA: "/pki/ca.crt", Cert: "/pki/client.crt", Key: "/pki/client.key"},
				Peer:   &spec.KeyPair{CA: "/pki/peers.crt", Cert: "/pki/l1.crt", Key: "/pki/l1.key"}}}},
		Hosts: []spec.Host{node(1), node(2), node(3), {Name: "here", Address: "localhost", Access: spec.AccessLocal, Service: spec.Service{
			Kind: spec.ServiceCommand, Start: []string{"sv", "up", "etcd"}, Stop: []string{"sv", "down", "etcd"}, Status: []string{"sv", "status", "etcd"}}}},
		Snapshot: &spec.Snapshot{Source: "https://backups.example.com/etcd.db", SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			SkipHashCheck: true, RevisionBump: &bump, MarkCompacted: true, Identity: filepath.Join(dir, "keys/age.txt")},
		Recover: &spec.Recover{From: "m1", InPlace: true},
		TLS: &spec.TLS{Client: &spec.KeyPair{CA: "/pki/ca.crt", Cert: "/pki/client.crt", Key: "/pki/client.key"},
			Peer: &spec.KeyPair{Cert: "/pki/peer.crt", Key: "/pki/peer.key"}, Requorum: &spec.KeyPair{CA: filepath.Join(dir, "pki/ca.crt")},
			RequorumPeer: &spec.KeyPair{CA: filepath.Join(dir, "pki/peers.crt")}},
		Auth:   &spec.Auth{Username: "root", Password: spec.NewSecret("pa=ss")},
		Policy: spec.Policy{MinFaultTolerance: 1, SnapshotBefore: "membership", Prevent: []string{"stale-watchers", "tail-drop"}, Strict: true},
	}
	if diff := cmp.Diff(want, c, secrets, withoutPositions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.Etcd.ConfigPos["enable-pprof"].Line; got != 30 {
		t.Errorf("enable-pprof is on line %d, want 30", got)
	}
}

var withoutPositions = cmp.Options{
	cmpopts.IgnoreTypes(spec.Position{}),
	cmpopts.IgnoreFields(spec.Etcd{}, "ConfigPos"),
}

const fullJSON = `{
  "variable": {"backup": {"type": "string"}, "password": {"type": "string", "sensitive": true}},
  "locals": {"address": {"m1": "10.77.0.11", "m2": "10.77.0.12", "m3": "10.77.0.13"}},
  "host": {
    "node": {"for_each": "${local.address}", "name": "${each.key}", "address": "${each.value}",
             "ssh": {"user": "ops"}, "service": {"systemd": {"unit": "etcd"}}},
    "here": {"address": "localhost", "service": {"command": {
             "start": ["sv", "up", "etcd"], "stop": ["sv", "down", "etcd"], "status": ["sv", "status", "etcd"]}}}
  },
  "cluster": {"inf-platform": {
    "id": "0x00CDF818194e3a8c",
    "etcd": {"version": "3.6", "binary": "/opt/etcd-{minor}/../etcd-{minor}/etcd", "config": {
      "quota-backend-bytes": 8589934592, "auto-compaction-mode": "periodic", "enable-pprof": true,
      "log-outputs": ["stderr", "/var/log/etcd.log"], "watch-progress-notify-interval": "5m"}},
    "member": {
      "any": {"for_each": "${local.address}", "name": "${each.key}", "host": "${each.key}",
              "peer_urls": ["https://${each.key}.example.com:2380"], "client_urls": ["https://${host[each.key].address}:2379"],
              "listen_peer_urls": ["https://${each.value}:2380"], "data_dir": "/var/lib/etcd", "wal_dir": "/wal/etcd"},
      "l1": {"host": "here", "peer_urls": ["https://10.77.0.14:2380"], "client_urls": ["https://10.77.0.14:2379"],
             "data_dir": "/data", "learner": true, "tls": {"peer": {"ca": "/pki/peers.crt", "cert": "/pki/l1.crt", "key": "/pki/l1.key"}}}
    },
    "snapshot": {"source": "${var.backup}", "sha256": "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
                 "skip_hash_check": true, "revision_bump": 2000000000, "identity": "keys/age.txt"},
    "recover": {"from": "m1", "in_place": true},
    "tls": {"client": {"ca": "/pki/ca.crt", "cert": "/pki/client.crt", "key": "/pki/client.key"},
            "peer": {"cert": "/pki/peer.crt", "key": "/pki/peer.key"}, "requorum": {"ca": "pki/ca.crt", "peer": {"ca": "pki/peers.crt"}}},
    "auth": {"username": "root", "password": "${var.password}"},
    "policy": {"min_fault_tolerance": 1, "snapshot_before": "membership", "prevent": ["stale-watchers", "tail-drop"], "strict": true}
  }}
}`

func TestJSONIsTheSame(t *testing.T) {
	dir := folder(t, map[string]string{"a.hcl": full, "b.hcl.json": fullJSON})
	opts := Options{Vars: []string{"backup=s3://bucket/etcd.db", "password=secret"}}
	a := mustLoad(t, filepath.Join(dir, "a.hcl"), opts)
	b := mustLoad(t, filepath.Join(dir, "b.hcl.json"), opts)
	if diff := cmp.Diff(a, b, secrets, withoutPositions); diff != "" {
		t.Errorf("(-hcl +json):\n%s", diff)
	}
}

func TestSeveralFiles(t *testing.T) {
	dir := folder(t, map[string]string{
		"cluster.hcl":     strings.Replace(minimal, `"data/m1"`, `local.dir`, 1),
		"locals.hcl.json": `{"locals": {"dir": "${local.base}/m1", "base": "/srv/etcd"}}`,
		"prod.vars.hcl":   `nothing = "declares this"`,
		"x.vars.hcl.json": `{"nor": "this"}`,
		".hidden.hcl":     `} not hcl`,
		"README.md":       `neither`,
	})
	if got := mustLoad(t, dir, Options{}).Members[0].DataDir; got != "/srv/etcd/m1" {
		t.Errorf("data_dir is %q", got)
	}
	r := Load(filepath.Join(dir, "cluster.hcl"), Options{})
	if got := errorLines(r.Diags); !cmp.Equal(got, []string{"5 Unknown local value"}) && len(got) != 1 {
		t.Errorf("one file alone: %q", got)
	}
	r = Load(filepath.Join(dir, "prod.vars.hcl"), Options{})
	if got := errorLines(r.Diags); !cmp.Equal(got, []string{"0 Not a configuration"}) {
		t.Errorf("a file of values as configuration: %q", got)
	}
}

func TestNoConfiguration(t *testing.T) {
	empty := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(empty, "absent"): "0 Configuration not found",
		empty:                          "0 No configuration",
	} {
		r := Load(path, Options{})
		if got := errorLines(r.Diags); !cmp.Equal(got, []string{want}) || r.Cluster != nil {
			t.Errorf("%s: %q, cluster %v", path, got, r.Cluster)
		}
	}
	dir := folder(t, map[string]string{"a.hcl": "\n", "b.hcl": "locals {}\n"})
	if got := errorLines(Load(dir, Options{}).Diags); !cmp.Equal(got, []string{"1 No cluster"}) {
		t.Errorf("no cluster: %q", got)
	}
}

func TestFormat(t *testing.T) {
	src := "cluster   \"a\"   {\nid=\"1\"\n  member \"m\" {\n data_dir=\"/x\" # why\n}\n}\n"
	once, diags := Format([]byte(src), "a.hcl")
	if diags.HasErrors() || string(once) == src {
		t.Fatalf("not formatted: %s %v", once, diags)
	}
	if want := "cluster \"a\" {\n  id = \"1\"\n  member \"m\" {\n    data_dir = \"/x\" # why\n  }\n}\n"; string(once) != want {
		t.Errorf("got %s", once)
	}
	if twice, _ := Format(once, "a.hcl"); !bytes.Equal(once, twice) {
		t.Errorf("not idempotent: %s", twice)
	}
	if out, diags := Format([]byte("cluster {"), "a.hcl"); !diags.HasErrors() || string(out) != "cluster {" {
		t.Errorf("a syntax error: %q %v", out, diags)
	}
	json := []byte(`{"cluster":   {}}`)
	if out, diags := Format(json, "a.hcl.json"); diags.HasErrors() || !bytes.Equal(out, json) {
		t.Errorf("JSON was changed: %s %v", out, diags)
	}
}
