package load

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A secret in a command is refused, and repeated nowhere: plans show commands.
func TestSecretsInCommands(t *testing.T) {
	t.Parallel()
	load := func(argv []string) (Result, string) {
		t.Helper()
		words, err := json.Marshal(argv)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("${", "$${", "%{", "%%{").Replace(string(words))
		dir := folder(t, map[string]string{"a.hcl": fmt.Sprintf(`host "h" {
  service "command" {
    start  = ["sv", "start", "etcd"]
    stop   = ["sv", "stop", "etcd"]
    status = %s
  }
}
cluster "c" {
  etcd { binary = "/usr/bin/etcd" }
  member "m1" {
    host        = "h"
    peer_urls   = ["http://127.0.0.1:2380"]
    client_urls = ["http://127.0.0.1:2379"]
    data_dir    = "/var/lib/etcd"
  }
}
`, text)})
		r := Load(dir, Options{})
		return r, rendered(t, r)
	}
	for _, argv := range [][]string{
		{"etcdctl", "--user", "root:hunter2", "endpoint", "health"},
		{"etcdctl", "--user=root:hunter2", "endpoint", "health"},
		{"etcdctl", "--user=root", "--password=hunter2"},
		{"etcdctl", "--password", "hunter2"},
		{"sh", "-c", "ETCDCTL_USER=root:hunter2 etcdctl endpoint health"},
		{"sh", "-c", "ETCDCTL_PASSWORD='hunter2' etcdctl --user root endpoint health"},
		{"env", "MY_API_TOKEN=hunter2", "/usr/local/bin/etcd-ctl", "status"},
		{"curl", "-u", "ann:hunter2", "https://keeper.example.com/etcd"},
		{"curl", "https://ann:hunter2@keeper.example.com/etcd"},
		{"curl", "-H", "Authorization: Bearer hunter2hunter2", "https://keeper.example.com"},
		{"curl", "https://keeper.example.com/etcd?token=hunter2"},
		{"sh", "-c", "cat >/tmp/k <<E\n-----BEGIN EC PRIVATE KEY-----\nhunter2\nE"},
	} {
		r, said := load(argv)
		if !strings.Contains(said, "Secret in a command") {
			t.Errorf("%q is taken: %s", argv, said)
		}
		if strings.Contains(said, "hunter2") {
			t.Errorf("%q: it is repeated\n%s", argv, said)
		}
		if b, err := json.Marshal(r.Cluster); err != nil || strings.Contains(string(b), "hunter2") {
			t.Errorf("%q: it goes on (%v)", argv, err)
		}
	}
	for _, argv := range [][]string{
		{"sh", "-c", `ETCDCTL_PASSWORD="$(cat /etc/etcd/pw)" etcdctl --user root endpoint health`},
		{"sh", "-c", "etcdctl --user root:$PW endpoint health"},
		{"etcdctl", "--password-file", "/etc/etcd/pw"},
		{"etcdctl", "--password-file=/etc/etcd/pw"},
		{"docker", "run", "--user", "1000:1000", "-u", "etcd:etcd", "etcd", "--auth-token=jwt,pub-key=/a", "--initial-cluster-token=tkn", "--auth-token-ttl", "300"},
		{"env", "ETCD_INITIAL_CLUSTER_TOKEN=etcd-1", "ETCD_AUTH_TOKEN=simple", "etcd"},
		{"/usr/local/lib/etcd-status", "--secret", "--verbose"},
		{"echo", "the", "token", "is", "wrong"},
		{"curl", "-sf", "http://127.0.0.1:2379/health?exclude=NOSPACE"},
	} {
		if r, said := load(argv); r.Diags.HasErrors() {
			t.Errorf("%q is refused:\n%s", argv, said)
		}
	}
}
