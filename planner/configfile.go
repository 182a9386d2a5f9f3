package planner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ConfigText is etcd's configuration file (embed.Config's JSON names, as YAML) for a
// member that has data, of an etcd of this version; "" where that is not known. etcd does
// not tell of a name in it that it does not know, so that a setting which has none there
// is an error here.
func ConfigText(x *StartMember, version string) (string, error) {
	var top []string
	sections := map[string][]string{}
	for _, a := range lasting(x.Args) {
		flag, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if err := configKnows(flag, minor(version)); err != nil {
			return "", err
		}
		section, name := configName(flag)
		line := name + ": " + configValue(flag, value)
		if section == "" {
			top = append(top, line)
		} else {
			sections[section] = append(sections[section], "  "+line)
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# Written by requorum for member %s of cluster %s; `requorum apply` writes it anew.\n", x.Name, x.Cluster)
	for _, line := range top {
		out.WriteString(line + "\n")
	}
	for _, section := range []string{"client-transport-security", "peer-transport-security", "socket-options"} {
		if lines := sections[section]; len(lines) > 0 {
			out.WriteString(section + ":\n" + strings.Join(lines, "\n") + "\n")
		}
	}
	return out.String(), nil
}

// clientTLS are the flags that have a section of their own; those of peers are the same
// behind "peer-".
var clientTLS = []string{"cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth", "trusted-ca-file", "auto-tls"}

// configKeys are the flags that etcd's configuration file has a name for, by the minor
// versions from and to which it has. A test asks etcds of each.
var configKeys = []struct {
	from, to int
	flags    []string
}{
	{4, 7, []string{
		"name", "initial-cluster", "initial-cluster-state", "initial-cluster-token", "force-new-cluster",
		"advertise-client-urls", "auth-token", "auth-token-ttl", "auto-compaction-mode", "auto-compaction-retention", "auto-tls",
		"backend-batch-interval", "backend-batch-limit", "bcrypt-cost", "cert-file", "cipher-suites", "client-cert-auth", "cors", "data-dir",
		"election-timeout", "enable-pprof", "grpc-keepalive-interval", "grpc-keepalive-min-time", "grpc-keepalive-timeout",
		"heartbeat-interval", "host-whitelist", "initial-advertise-peer-urls", "initial-election-tick-advance", "key-file",
		"listen-client-urls", "listen-metrics-urls", "listen-peer-urls", "log-level", "log-outputs", "logger", "max-concurrent-streams",
		"max-request-bytes", "max-snapshots", "max-txn-ops", "max-wals", "metrics", "peer-auto-tls", "peer-cert-file",
		"peer-client-cert-auth", "peer-key-file", "peer-trusted-ca-file", "pre-vote", "quota-backend-bytes", "snapshot-count",
		"strict-reconfig-check", "trusted-ca-file", "wal-dir",
	}},
	{5, 7, []string{
		"backend-bbolt-freelist-type", "client-cert-allowed-hostname", "client-cert-file", "client-key-file", "enable-grpc-gateway",
		"enable-log-rotation", "listen-client-http-urls", "log-rotation-config-json", "peer-cert-allowed-cn", "peer-cert-allowed-hostname",
		"peer-client-cert-file", "peer-client-key-file", "self-signed-cert-validity", "socket-reuse-address", "socket-reuse-port",
		"tls-max-version", "tls-min-version", "unsafe-no-fsync", "v2-deprecation",
	}},
	{6, 7, []string{
		"bootstrap-defrag-threshold-megabytes", "compact-hash-check-time", "compaction-batch-limit", "compaction-sleep-interval",
		"corrupt-check-time", "distributed-tracing-address", "distributed-tracing-instance-id", "distributed-tracing-sampling-rate",
		"distributed-tracing-service-name", "downgrade-check-time", "enable-distributed-tracing", "feature-gates", "log-format",
		"max-learners", "memory-mlock", "peer-skip-client-san-verification", "snapshot-catchup-entries", "warning-apply-duration",
		"warning-unary-request-duration", "watch-progress-notify-interval",
	}},
	{4, 4, []string{"debug", "experimental-backend-bbolt-freelist-type", "log-package-levels"}},
	{4, 5, []string{"enable-v2", "experimental-enable-v2v3"}},
	{4, 6, []string{
		"experimental-compaction-batch-limit", "experimental-corrupt-check-time", "experimental-enable-lease-checkpoint",
		"experimental-initial-corrupt-check", "experimental-warning-apply-duration", "experimental-watch-progress-notify-interval",
	}},
	{5, 6, []string{
		"experimental-bootstrap-defrag-threshold-megabytes", "experimental-compact-hash-check-enabled", "experimental-compact-hash-check-time",
		"experimental-compaction-sleep-interval", "experimental-distributed-tracing-address", "experimental-distributed-tracing-instance-id",
		"experimental-distributed-tracing-sampling-rate", "experimental-distributed-tracing-service-name", "experimental-downgrade-check-time",
		"experimental-enable-distributed-tracing", "experimental-enable-lease-checkpoint-persist", "experimental-memory-mlock",
		"experimental-snapshot-catchup-entries", "experimental-stop-grpc-service-on-defrag", "experimental-txn-mode-write-with-shared-buffer",
	}},
	{6, 6, []string{"experimental-peer-skip-client-san-verification", "experimental-warning-unary-request-duration"}},
}

// configKnows refuses a flag that the file of etcd 3.minor has no name for. Where the
// version is not known, -1, each of them has to know it.
func configKnows(flag string, minor int) error {
	for _, k := range configKeys {
		if slices.Contains(k.flags, flag) {
			switch {
			case k.from <= minor && minor <= k.to, minor > 7 && k.to == 7, k.from == 4 && k.to == 7:
				return nil
			case minor < 0:
				return fmt.Errorf("which etcd its commands start is not known, and only some of etcd 3.4 to 3.7 know --%s in a configuration file", flag)
			}
			return fmt.Errorf("the configuration file of etcd 3.%d has no place for --%s: it would go unsaid", minor, flag)
		}
	}
	return fmt.Errorf("etcd's configuration file has no place for --%s: it would go unsaid", flag)
}

// configName is where a flag's setting stands in the file (embed/config.go configJSON,
// securityConfig).
func configName(flag string) (section, name string) {
	peer, isPeer := strings.CutPrefix(flag, "peer-")
	switch {
	case slices.Contains(clientTLS, flag):
		return "client-transport-security", flag
	case flag == "client-cert-allowed-hostname":
		return "client-transport-security", "allowed-hostname"
	case isPeer && slices.Contains(clientTLS, peer), flag == "peer-skip-client-san-verification":
		return "peer-transport-security", peer
	case flag == "experimental-peer-skip-client-san-verification":
		return "peer-transport-security", "skip-client-san-verification"
	case isPeer && strings.HasPrefix(peer, "cert-allowed-"):
		return "peer-transport-security", strings.TrimPrefix(peer, "cert-")
	case strings.HasPrefix(flag, "socket-"):
		return "socket-options", strings.TrimPrefix(flag, "socket-")
	case flag == "experimental-snapshot-catchup-entries":
		return "", "experimental-snapshot-catch-up-entries"
	}
	return "", flag
}

// lists are the flags whose value is a list in the file.
var lists = []string{"log-outputs", "cipher-suites", "client-cert-allowed-hostname", "peer-cert-allowed-cn", "peer-cert-allowed-hostname"}

// texts are the flags whose value is a text, also where it looks like a number: a WAL
// directory, a retention of 1. A test compares them with etcd's.
var texts = []string{
	"advertise-client-urls", "auth-token", "auto-compaction-mode", "auto-compaction-retention", "backend-bbolt-freelist-type", "cert-file",
	"experimental-backend-bbolt-freelist-type", "experimental-enable-v2v3", "log-package-levels",
	"client-cert-file", "client-key-file", "cors", "data-dir", "distributed-tracing-address", "distributed-tracing-instance-id",
	"distributed-tracing-service-name", "experimental-distributed-tracing-address", "experimental-distributed-tracing-instance-id",
	"experimental-distributed-tracing-service-name", "feature-gates", "host-whitelist", "initial-advertise-peer-urls", "initial-cluster",
	"initial-cluster-state", "initial-cluster-token", "key-file", "listen-client-http-urls", "listen-client-urls", "listen-metrics-urls",
	"listen-peer-urls", "log-format", "log-level", "log-rotation-config-json", "logger", "metrics", "name", "peer-cert-file", "peer-client-cert-file",
	"peer-client-key-file", "peer-key-file", "peer-trusted-ca-file", "tls-max-version", "tls-min-version", "trusted-ca-file", "v2-deprecation",
	"wal-dir",
}

// configValue is a flag's value in YAML. Numbers and truth values stand bare.
func configValue(flag, value string) string {
	if slices.Contains(lists, flag) {
		var parts []string
		for part := range strings.SplitSeq(value, ",") {
			parts = append(parts, quotedJSON(part))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if slices.Contains(texts, flag) {
		return quotedJSON(value)
	}
	for _, end := range []string{"-time", "-interval", "-timeout", "-duration"} {
		if ns, ok := nanoseconds(value); ok && strings.HasSuffix(flag, end) {
			return strconv.FormatInt(ns, 10)
		}
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && strconv.FormatInt(n, 10) == value || value == "true" || value == "false" {
		return value
	}
	return quotedJSON(value)
}

// quotedJSON is a text in quotes, as JSON and YAML both read it.
func quotedJSON(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // of a string it can't fail
	return strings.TrimSuffix(out.String(), "\n")
}

// nanoseconds reads a duration with its units, "1h30m" or "0.5s": the file has it as a
// number.
func nanoseconds(s string) (int64, bool) {
	ns := map[string]float64{"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
	digits := func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }
	total, rest := 0.0, s
	for rest != "" {
		number := rest[:len(rest)-len(strings.TrimLeftFunc(rest, digits))]
		rest = rest[len(number):]
		unit := rest
		if end := strings.IndexFunc(rest, digits); end >= 0 {
			unit = rest[:end]
		}
		rest = rest[len(unit):]
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || ns[unit] == 0 {
			return 0, false
		}
		total += n * ns[unit]
	}
	return int64(total + 0.5), s != "" && total < 1<<62
}
