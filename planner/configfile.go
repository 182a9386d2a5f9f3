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
// member that has data. etcd does not tell of a name in it that it does not know, so
// that a setting which has none there is an error here.
func ConfigText(x *StartMember) (string, error) {
	var top []string
	sections := map[string][]string{}
	for _, a := range lasting(x.Args) {
		flag, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		section, name, err := configName(flag)
		if err != nil {
			return "", err
		}
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

// configName is where a flag's setting stands in the file (embed/config.go configJSON,
// securityConfig).
func configName(flag string) (section, name string, err error) {
	peer, isPeer := strings.CutPrefix(flag, "peer-")
	switch {
	case strings.HasSuffix(flag, "crl-file"):
		return "", "", fmt.Errorf("etcd's configuration file has no place for --%s", flag)
	case slices.Contains(clientTLS, flag):
		return "client-transport-security", flag, nil
	case flag == "client-cert-allowed-hostname":
		return "client-transport-security", "allowed-hostname", nil
	case isPeer && slices.Contains(clientTLS, peer), flag == "peer-skip-client-san-verification":
		return "peer-transport-security", peer, nil
	case isPeer && strings.HasPrefix(peer, "cert-allowed-"):
		return "peer-transport-security", strings.TrimPrefix(peer, "cert-"), nil
	case strings.HasPrefix(flag, "socket-"):
		return "socket-options", strings.TrimPrefix(flag, "socket-"), nil
	}
	return "", flag, nil
}

// lists are the flags whose value is a list in the file.
var lists = []string{"log-outputs", "cipher-suites", "client-cert-allowed-hostname", "peer-cert-allowed-cn", "peer-cert-allowed-hostname"}

// texts are the flags whose value is a text, also where it looks like a number: a WAL
// directory, a retention of 1. A test compares them with etcd's.
var texts = []string{
	"advertise-client-urls", "auth-token", "auto-compaction-mode", "auto-compaction-retention", "backend-bbolt-freelist-type", "cert-file",
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
