package planner

import (
	"slices"
	"strings"
)

// Which minor version of etcd has which setting, as the binaries themselves say
// (TestSettingsOfEachMinor asks them). A setting that is not named here is in all of
// them.
var (
	// settingSince is the first minor that has it.
	settingSince = map[string]int{
		"backend-bbolt-freelist-type": 5, "client-cert-file": 5, "client-key-file": 5, "enable-log-rotation": 5, "listen-client-http-urls": 5,
		"log-rotation-config-json": 5, "peer-client-cert-file": 5, "peer-client-key-file": 5, "raft-read-timeout": 5, "raft-write-timeout": 5,
		"self-signed-cert-validity": 5, "socket-reuse-address": 5, "socket-reuse-port": 5, "tls-max-version": 5, "tls-min-version": 5, "v2-deprecation": 5,

		"bootstrap-defrag-threshold-megabytes": 6, "compact-hash-check-time": 6, "compaction-batch-limit": 6, "compaction-sleep-interval": 6,
		"corrupt-check-time": 6, "distributed-tracing-address": 6, "distributed-tracing-instance-id": 6, "distributed-tracing-sampling-rate": 6,
		"distributed-tracing-service-name": 6, "downgrade-check-time": 6, "enable-distributed-tracing": 6, "feature-gates": 6, "log-format": 6,
		"max-learners": 6, "memory-mlock": 6, "peer-skip-client-san-verification": 6, "snapshot-catchup-entries": 6, "warning-apply-duration": 6,
		"warning-unary-request-duration": 6, "watch-progress-notify-interval": 6,

		"experimental-bootstrap-defrag-threshold-megabytes": 5, "experimental-compact-hash-check-enabled": 5, "experimental-compact-hash-check-time": 5,
		"experimental-compaction-sleep-interval": 5, "experimental-distributed-tracing-address": 5, "experimental-distributed-tracing-instance-id": 5,
		"experimental-distributed-tracing-sampling-rate": 5, "experimental-distributed-tracing-service-name": 5, "experimental-downgrade-check-time": 5,
		"experimental-enable-distributed-tracing": 5, "experimental-memory-mlock": 5, "experimental-snapshot-catchup-entries": 5,
		"experimental-stop-grpc-service-on-defrag": 5, "experimental-txn-mode-write-with-shared-buffer": 5, "experimental-warning-unary-request-duration": 6,
	}
	// settingGone is the first minor that does not have it any more; for all others
	// that begin with "experimental-" that is 3.7.
	settingGone = map[string]int{
		"debug": 5, "log-output": 5, "log-package-levels": 5, "experimental-backend-bbolt-freelist-type": 5,
		"enable-v2": 6, "experimental-enable-v2v3": 6, "proxy": 6, "proxy-dial-timeout": 6, "proxy-failure-wait": 6, "proxy-read-timeout": 6,
		"proxy-refresh-interval": 6, "proxy-write-timeout": 6,
	}
)

// HasSetting reports whether etcd 3.n has a setting of this name; of a minor that is
// not known all of them.
func HasSetting(n int, name string) bool {
	return n < 0 || settingSince[name] <= n && !settingRemoved(n, name)
}

// settingRemoved reports whether etcd 3.n has it no more.
func settingRemoved(n int, name string) bool {
	gone, ok := settingGone[name]
	if !ok && strings.HasPrefix(name, "experimental-") {
		gone, ok = 7, true
	}
	return ok && n >= gone
}

// successor is what a setting that etcd 3.n has no more is called there; "" where it has
// no other name, or means something else.
func successor(n int, name string) string {
	rest, ok := strings.CutPrefix(name, "experimental-")
	if since, named := settingSince[rest]; ok && named && since <= n {
		return rest
	}
	return ""
}

// runningMinor is that of the process of the member, or where none answers, of the etcd
// that would be started; -1 where neither is known.
func (m *member) runningMinor() int {
	if n := minor(m.seen.Client.Version); m.cond == condServing && n >= 0 {
		return n
	}
	return m.nextMinor()
}

// nextMinor is that of the etcd which the member is started with next; -1 where it is
// not known.
func (m *member) nextMinor() int {
	if !m.seen.Binary.Known() {
		return -1
	}
	return minor(m.seen.Binary.Value.Version)
}

// leftOut are the file's settings that etcd 3.n does not have yet: the members get them
// when they come to the version that has.
func (b *builder) leftOut(n int) []string {
	var out []string
	for name := range b.cluster.Etcd.Config {
		if !HasSetting(n, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
