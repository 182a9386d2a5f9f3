package command

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Each setting that etcd has means the same in the file as on the command line; one
// that has no place in the file is refused.
func TestConfigTextOfEachFlag(t *testing.T) {
	t.Parallel()
	known := flag.NewFlagSet("etcd", flag.ContinueOnError)
	embed.NewConfig().AddFlags(known)
	const common = 30
	n := 0
	known.VisitAll(func(f *flag.Flag) {
		value, ok := sample(f)
		if !ok {
			return
		}
		m := planner.StartMember{Place: planner.Place{Name: "m1"}, Cluster: "c", Args: []string{"--data-dir=/d", "--" + f.Name + "=" + value}}
		text, err := planner.ConfigText(&m, "3.7.0")
		if strings.HasSuffix(f.Name, "crl-file") || strings.HasPrefix(f.Name, "raft-") {
			if err == nil {
				t.Errorf("%s: etcd reads no such name from a file", f.Name)
			}
			return
		}
		must(t, err)
		path := filepath.Join(t.TempDir(), "etcd.yaml")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		cfg, err := embed.ConfigFromFile(path)
		if err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, text)
			return
		}
		byFile, err := process.SettingsFrom([]string{"--config-file=" + path}, nil, "/")
		must(t, err)
		byFlag, err := process.SettingsFrom(m.Args, nil, "/")
		must(t, err)
		byFlag["initial-cluster-state"] = "existing"
		if !maps.Equal(byFile, byFlag) {
			t.Errorf("%s: by the file %v, by the flag %v\n%s", f.Name, byFile[f.Name], byFlag[f.Name], text)
		}
		if f.Name == "grpc-keepalive-min-time" && cfg.GRPCKeepAliveMinTime != 90*time.Second || f.Name == "quota-backend-bytes" && cfg.QuotaBackendBytes != 7 ||
			f.Name == "peer-cert-file" && cfg.PeerTLSInfo.CertFile != "/some/path" || f.Name == "cert-file" && cfg.ClientTLSInfo.CertFile != "/some/path" {
			t.Errorf("%s: etcd did not take it\n%s", f.Name, text)
		}
		n++
	})
	if n < common {
		t.Errorf("only %d flags", n)
	}
}

// sample is a value that is not the default; false for flags that requorum never gives.
func sample(f *flag.Flag) (string, bool) {
	for _, prefix := range []string{"initial-", "discovery", "force-new"} {
		if strings.HasPrefix(f.Name, prefix) && f.Name != "initial-advertise-peer-urls" && f.Name != "initial-election-tick-advance" {
			return "", false
		}
	}
	values := map[string]string{
		"data-dir": "", "log-outputs": "stderr,/var/log/etcd.log", "cipher-suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "tls-min-version": "TLS1.3", "tls-max-version": "TLS1.3",
		"auto-compaction-retention": "1", "auto-compaction-mode": "revision", "feature-gates": "InitialCorruptCheck=true", "cors": "https://a.example:443", "host-whitelist": "a.example",
		"metrics": "extensive", "log-level": "warn", "log-format": "console", "logger": "zap", "log-rotation-config-json": `{"maxsize": 100, "maxage": 0}`,
		"auth-token": "jwt,pub-key=/a,priv-key=/b,sign-method=RS256", "name": "yes", "backend-bbolt-freelist-type": "array", "election-timeout": "5000",
		"peer-cert-allowed-cn": "etcd", "peer-cert-allowed-hostname": "a.example", "client-cert-allowed-hostname": "a.example",
		"snapshot-count": "70", "enable-log-rotation": "false",
	}
	if v, ok := values[f.Name]; ok {
		return v, v != ""
	}
	get, ok := f.Value.(flag.Getter)
	if ok {
		switch get.Get().(type) {
		case bool:
			return "true", true
		case int, uint, int64, uint64:
			return "7", true
		case time.Duration:
			return "1m30s", true
		}
	}
	switch {
	case strings.HasSuffix(f.Name, "-file"):
		return "/some/path", true
	case strings.HasSuffix(f.Name, "-urls"):
		return "http://127.0.0.1:7", true
	case slices.Contains([]string{"max-concurrent-streams"}, f.Name):
		return "7", true
	}
	return "7", true
}
