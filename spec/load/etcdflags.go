package load

import "strings"

// flagKind is what the value of an etcd flag must be.
type flagKind int

const (
	flagText flagKind = iota
	flagBool
	flagInt
	flagUint
	flagDuration
)

// owned says what to write instead of a setting that requorum sets itself, or
// "" for one that is the user's.
func owned(name string) string {
	if s, ok := ownedFlags[name]; ok {
		return s
	}
	for _, p := range ownedPrefixes {
		if strings.HasPrefix(name, p.prefix) {
			return p.instead
		}
	}
	return ""
}

var ownedFlags = map[string]string{
	"name":                        `It is the label (or name) of the member block.`,
	"data-dir":                    `Write data_dir in the member block.`,
	"wal-dir":                     `Write wal_dir in the member block.`,
	"listen-peer-urls":            `Write listen_peer_urls in the member block.`,
	"listen-client-urls":          `Write listen_client_urls in the member block.`,
	"advertise-client-urls":       `Write client_urls in the member block.`,
	"initial-advertise-peer-urls": `Write peer_urls in the member block.`,
	"initial-cluster":             `It follows from the member blocks.`,
	"initial-cluster-state":       `It follows from what the plan does.`,
	"initial-cluster-token":       `Every restore gets a fresh one.`,
	"force-new-cluster":           `Write recover { from = "NAME" } in the cluster block; a member that keeps this flag expels the others at its next start.`,
	"config-file":                 `Write the settings themselves into config.`,
	"version":                     `It makes etcd print its version and end; write version in the etcd block to ask for one.`,

	"cert-file":             `Write tls { client { … } } in the cluster block.`,
	"key-file":              `Write tls { client { … } } in the cluster block.`,
	"client-cert-file":      `Write tls { client { … } } in the cluster block.`,
	"client-key-file":       `Write tls { client { … } } in the cluster block.`,
	"trusted-ca-file":       `Write ca in tls { client { … } } in the cluster block.`,
	"client-cert-auth":      `It is on where tls { client { … } } has a ca.`,
	"auto-tls":              `Give the members certificates, in tls { client { … } } in the cluster block.`,
	"peer-cert-file":        `Write tls { peer { … } } in the cluster block.`,
	"peer-key-file":         `Write tls { peer { … } } in the cluster block.`,
	"peer-client-cert-file": `Write tls { peer { … } } in the cluster block.`,
	"peer-client-key-file":  `Write tls { peer { … } } in the cluster block.`,
	"peer-trusted-ca-file":  `Write ca in tls { peer { … } } in the cluster block.`,
	"peer-client-cert-auth": `It is on where tls { peer { … } } has a ca.`,
	"peer-auto-tls":         `Give the members certificates, in tls { peer { … } } in the cluster block.`,
}

var ownedPrefixes = []struct{ prefix, instead string }{
	{"listen-", "The URLs that a member listens on are in its member block; there are no others."},
	{"advertise-", "The URLs that a member advertises are in its member block."},
	{"initial-", "It matters only when a cluster begins, which is a plan's work: leave it out."},
	{"discovery", "The members are those of the file; none are discovered. Leave it out."},
}

// dangerous are settings that can lose what a plan promises to keep.
var dangerous = map[string]string{
	"unsafe-no-fsync":       "lets a power cut lose acknowledged writes on every member at once. Leave it out where the data matters.",
	"strict-reconfig-check": "is etcd's own guard against a change of members that loses quorum. Leave it on.",
}

// formerFlags are settings of etcd 3.4 to 3.6 that 3.7 has under no name that
// formerFlag could work out.
var formerFlags = []string{
	"debug", "enable-v2", "log-output", "log-package-levels", "proxy", "proxy-dial-timeout",
	"proxy-failure-wait", "proxy-read-timeout", "proxy-refresh-interval", "proxy-write-timeout",
	"experimental-enable-v2v3",
	"experimental-wait-cluster-ready-timeout",
}

// formerGates are experimental flags that are now feature gates.
var formerGates = map[string]string{
	"experimental-initial-corrupt-check":             "InitialCorruptCheck",
	"experimental-compact-hash-check-enabled":        "CompactHashCheck",
	"experimental-enable-lease-checkpoint":           "LeaseCheckpoint",
	"experimental-enable-lease-checkpoint-persist":   "LeaseCheckpointPersist",
	"experimental-stop-grpc-service-on-defrag":       "StopGRPCServiceOnDefrag",
	"experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
	"experimental-set-member-localaddr":              "SetMemberLocalAddr",
}

// formerFlag tells whether etcd before 3.7 had a setting, and, as a sentence,
// what it is now.
func formerFlag(name string) (now string, ok bool) {
	if gate, ok := formerGates[name]; ok {
		return ` It is feature-gates = "` + gate + `=true" now.`, true
	}
	if rest, ok := strings.CutPrefix(name, "experimental-"); ok {
		if _, known := etcdFlags[rest]; known {
			return " It is called " + rest + " now.", true
		}
	}
	for _, f := range formerFlags {
		if f == name {
			return "", true
		}
	}
	return "", false
}

// etcdFlags are the settings of the etcd inside requorum with their kinds, as
// embed.Config.AddFlags and etcdmain register them; a test compares. To renew:
// REQUORUM_PRINT_FLAGS=1 go test -run TestEtcdFlags ./spec/load
var etcdFlags = map[string]flagKind{
	"advertise-client-urls":                flagText,
	"auth-token":                           flagText,
	"auth-token-ttl":                       flagUint,
	"auto-compaction-mode":                 flagText,
	"auto-compaction-retention":            flagText,
	"auto-tls":                             flagBool,
	"backend-batch-interval":               flagDuration,
	"backend-batch-limit":                  flagInt,
	"backend-bbolt-freelist-type":          flagText,
	"bcrypt-cost":                          flagUint,
	"bootstrap-defrag-threshold-megabytes": flagUint,
	"cert-file":                            flagText,
	"cipher-suites":                        flagText,
	"client-cert-allowed-hostname":         flagText,
	"client-cert-auth":                     flagBool,
	"client-cert-file":                     flagText,
	"client-crl-file":                      flagText,
	"client-key-file":                      flagText,
	"compact-hash-check-time":              flagDuration,
	"compaction-batch-limit":               flagInt,
	"compaction-sleep-interval":            flagDuration,
	"config-file":                          flagText,
	"corrupt-check-time":                   flagDuration,
	"cors":                                 flagText,
	"data-dir":                             flagText,
	"discovery-cacert":                     flagText,
	"discovery-cert":                       flagText,
	"discovery-dial-timeout":               flagDuration,
	"discovery-endpoints":                  flagText,
	"discovery-fallback":                   flagText,
	"discovery-insecure-skip-tls-verify":   flagBool,
	"discovery-insecure-transport":         flagBool,
	"discovery-keepalive-time":             flagDuration,
	"discovery-keepalive-timeout":          flagDuration,
	"discovery-key":                        flagText,
	"discovery-password":                   flagText,
	"discovery-request-timeout":            flagDuration,
	"discovery-srv":                        flagText,
	"discovery-srv-name":                   flagText,
	"discovery-token":                      flagText,
	"discovery-user":                       flagText,
	"distributed-tracing-address":          flagText,
	"distributed-tracing-instance-id":      flagText,
	"distributed-tracing-sampling-rate":    flagInt,
	"distributed-tracing-service-name":     flagText,
	"downgrade-check-time":                 flagDuration,
	"election-timeout":                     flagUint,
	"enable-distributed-tracing":           flagBool,
	"enable-grpc-gateway":                  flagBool,
	"enable-log-rotation":                  flagBool,
	"enable-pprof":                         flagBool,
	"feature-gates":                        flagText,
	"force-new-cluster":                    flagBool,
	"grpc-keepalive-interval":              flagDuration,
	"grpc-keepalive-min-time":              flagDuration,
	"grpc-keepalive-timeout":               flagDuration,
	"heartbeat-interval":                   flagUint,
	"host-whitelist":                       flagText,
	"initial-advertise-peer-urls":          flagText,
	"initial-cluster":                      flagText,
	"initial-cluster-state":                flagText,
	"initial-cluster-token":                flagText,
	"initial-election-tick-advance":        flagBool,
	"key-file":                             flagText,
	"listen-client-http-urls":              flagText,
	"listen-client-urls":                   flagText,
	"listen-metrics-urls":                  flagText,
	"listen-peer-urls":                     flagText,
	"log-format":                           flagText,
	"log-level":                            flagText,
	"log-outputs":                          flagText,
	"log-rotation-config-json":             flagText,
	"logger":                               flagText,
	"max-concurrent-streams":               flagUint,
	"max-learners":                         flagInt,
	"max-request-bytes":                    flagUint,
	"max-snapshots":                        flagUint,
	"max-txn-ops":                          flagUint,
	"max-wals":                             flagUint,
	"memory-mlock":                         flagBool,
	"metrics":                              flagText,
	"name":                                 flagText,
	"peer-auto-tls":                        flagBool,
	"peer-cert-allowed-cn":                 flagText,
	"peer-cert-allowed-hostname":           flagText,
	"peer-cert-file":                       flagText,
	"peer-client-cert-auth":                flagBool,
	"peer-client-cert-file":                flagText,
	"peer-client-key-file":                 flagText,
	"peer-crl-file":                        flagText,
	"peer-key-file":                        flagText,
	"peer-skip-client-san-verification":    flagBool,
	"peer-trusted-ca-file":                 flagText,
	"pre-vote":                             flagBool,
	"quota-backend-bytes":                  flagInt,
	"raft-read-timeout":                    flagDuration,
	"raft-write-timeout":                   flagDuration,
	"self-signed-cert-validity":            flagUint,
	"snapshot-catchup-entries":             flagUint,
	"snapshot-count":                       flagUint,
	"socket-reuse-address":                 flagBool,
	"socket-reuse-port":                    flagBool,
	"strict-reconfig-check":                flagBool,
	"tls-max-version":                      flagText,
	"tls-min-version":                      flagText,
	"trusted-ca-file":                      flagText,
	"unsafe-no-fsync":                      flagBool,
	"v2-deprecation":                       flagText,
	"version":                              flagBool,
	"wal-dir":                              flagText,
	"warning-apply-duration":               flagDuration,
	"warning-unary-request-duration":       flagDuration,
	"watch-progress-notify-interval":       flagDuration,
}
