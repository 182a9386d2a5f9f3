package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/requorum/requorum/planner"
)

// The files hold lines that etcd wrote, without their stacks: of 3.5 to 3.7, in
// the console format too. 3.4's default format is made after its source.
func TestSignsOfEveryVersion(t *testing.T) {
	t.Parallel()
	x509 := "prober detected unhealthy status: tls: failed to verify certificate: x509: certificate signed by unknown authority"
	heartbeat := "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"
	gone := func(id, stream string) string {
		return fmt.Sprintf("peer became inactive (message send to peer failed): failed to dial %s on stream %s (the member has been permanently removed from the cluster)", id, stream)
	}
	full := "writing data failed: write /data/f1/member/snap/db: no space left on device"
	for file, want := range map[string][]planner.LogSign{
		"signs-3.5-json.log": {
			{Kind: planner.SignClockDrift, Text: "prober found high clock drift"},
			{Kind: planner.SignPeerTLS, Text: x509},
			{Kind: planner.SignIDMismatch, Text: "request sent was ignored due to cluster ID mismatch"},
			{Kind: planner.SignDiskFull, Text: "failed to commit tx: write /data/f1/member/snap/db: no space left on device"},
			{Kind: planner.SignRemoved, Text: gone("b117b0e6f1bfed4c", "Message")},
			{Kind: planner.SignForced, Text: "forcing restart member"},
		},
		"signs-3.6-json.log": {
			{Kind: planner.SignClockDrift, Text: "prober found high clock drift"},
			{Kind: planner.SignPeerTLS, Text: x509},
			{Kind: planner.SignIDMismatch, Text: "request sent was ignored due to cluster ID mismatch"},
			{Kind: planner.SignDiskFull, Text: full},
			{Kind: planner.SignTooManyLearner, Text: "bootstrap failed: membership: too many learner members in cluster"},
			{Kind: planner.SignRemoved, Text: gone("bdbd528c0a1f161", "Message")},
			{Kind: planner.SignForced, Text: "forcing restart member"},
		},
		"signs-3.7-json.log": {
			{Kind: planner.SignClockDrift, Text: "prober found high clock drift"},
			{Kind: planner.SignPeerTLS, Text: x509},
			{Kind: planner.SignIDMismatch, Text: "request sent was ignored due to cluster ID mismatch"},
			{Kind: planner.SignSlowDisk, Text: "slow fdatasync"},
			{Kind: planner.SignDiskFull, Text: full},
			{Kind: planner.SignTooManyLearner, Text: "bootstrap failed: membership: too many learner members in cluster"},
			{Kind: planner.SignRemoved, Text: "server error: the member has been permanently removed from the cluster"},
			{Kind: planner.SignForced, Text: "forcing restart member"},
		},
		"signs-3.7-console.log": {
			{Kind: planner.SignClockDrift, Text: "prober found high clock drift"},
			{Kind: planner.SignPeerTLS, Text: x509},
			{Kind: planner.SignIDMismatch, Text: "request sent was ignored by remote peer due to cluster ID mismatch: cluster ID mismatch"},
			{Kind: planner.SignSlowDisk, Text: heartbeat},
			{Kind: planner.SignDiskFull, Text: full},
			{Kind: planner.SignTooManyLearner, Text: "bootstrap failed: membership: too many learner members in cluster"},
			{Kind: planner.SignRemoved, Text: gone("ab241d15d2b4f8c5", "MsgApp v2")},
			{Kind: planner.SignForced, Text: "forcing restart member"},
		},
		"signs-3.4-capnslog.log": {
			{Kind: planner.SignClockDrift, Text: "the clock difference against peer aa4fdaf4c562342d is too high [8.484795885s > 1s]"},
			{Kind: planner.SignIDMismatch, Text: "request sent was ignored (cluster ID mismatch: peer[bc5babcd42042800]=a8977fad6ef90f15, local=38cf28018b4788e7)"},
			{Kind: planner.SignSlowDisk, Text: "sync duration of 1.363283431s, expected less than 1s"},
			{Kind: planner.SignOverloaded, Text: "server is likely overloaded"},
			{Kind: planner.SignRemoved, Text: "the member has been permanently removed from the cluster"},
			{Kind: planner.SignForced, Text: "forcing restart of member 8e9e05c52164694d in cluster cdf818194e3a8c32 at commit index 7"},
		},
	} {
		path := filepath.Join("testdata", file)
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, signs(path, time.Time{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// Every kind is found by some line of the files, but for one that etcd itself
// hardly logs.
func TestEverySignHasALine(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/signs-*.log")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		for _, s := range signs(f, time.Time{}) {
			seen[s.Kind] = true
		}
	}
	for _, k := range signKinds {
		if !seen[k.kind] {
			t.Errorf("%s is never found", k.kind)
		}
	}
}

func TestSigns(t *testing.T) {
	t.Parallel()
	const (
		start  = `{"level":"info","ts":"2026-01-01T00:00:00Z","logger":"requorum","msg":"starting etcd m1"}` + "\n"
		adopt  = `{"level":"info","ts":"2026-01-01T00:00:00Z","logger":"requorum","msg":"supervising an etcd that was started elsewhere, pid 7"}` + "\n"
		forced = `{"level":"info","ts":"2026-01-01T00:00:01Z","msg":"forcing restart member"}` + "\n"
		full1  = `{"level":"fatal","ts":"2026-01-01T00:00:01Z","msg":"failed to save","error":"write a: no space left on device"}` + "\n"
		full2  = `{"level":"fatal","ts":"2026-01-01T00:00:02Z","msg":"failed to save","error":"write b: no space left on device"}` + "\n"
	)
	for name, tt := range map[string]struct{ log, want string }{
		"none":               {start + `{"level":"info","msg":"ready to serve client requests"}`, ""},
		"empty":              {"", ""},
		"the last of a kind": {start + full1 + forced + full2, "disk-full: failed to save: write b: no space left on device; forced: forcing restart member"},
		"of its last start":  {start + forced + start + full1, "disk-full: failed to save: write a: no space left on device"},
		"started afresh":     {start + forced + full1 + start, ""},
		"adopted":            {start + forced + adopt, ""},
		"our own words":      {start + `{"level":"error","logger":"requorum","msg":"write state: no space left on device"}`, ""},
		"in a field":         {start + `{"level":"warn","msg":"apply request took too long","request":"key:\"no space left on device\""}`, ""},
		"in a console field": {"2026-11-21T11:36:00.435107Z\twarn\ttxn/util.go:94\tapply request took too long\t{\"request\": \"slow fdatasync\"}", ""},
		"no log line":        {start + "goroutine 1: no space left on device\n", ""},
		"a healthy peer":     {start + `{"level":"warn","msg":"prober detected unhealthy status","error":"dial tcp 127.0.0.1:1: connect: connection refused"}`, ""},
		"a client's trouble": {start + `{"level":"warn","msg":"rejected connection on client endpoint","error":"EOF"}`, ""},
		"too many requests":  {start + `{"level":"warn","msg":"failed to publish local member to cluster through raft","error":"etcdserver: too many requests"}`, "overloaded: failed to publish local member to cluster through raft: etcdserver: too many requests"},
		"too many, and it was told": {start + `{"level":"warn","msg":"failed to publish local member to cluster through raft","error":"etcdserver: too many requests"}` + "\n" + forced +
			`{"level":"info","msg":"published local member to cluster through raft"}`, "forced: forcing restart member"},
		"too many once more":  {start + `{"level":"info","msg":"published local member to cluster through raft"}` + "\n" + `{"level":"warn","msg":"x","error":"etcdserver: too many requests"}`, "overloaded: x: etcdserver: too many requests"},
		"before its first":    {forced, "forced: forcing restart member"},
		"without a line feed": {start + strings.TrimSpace(forced), "forced: forcing restart member"},
		"message of a field":  {start + "2026-11-21T11:36:00.435107Z\tinfo\tx.go:1\tall well\t{\"msg\": \"forcing restart member\", \"error\": \"none\"}", ""},
	} {
		var got []string
		for _, s := range parseSigns([]byte(tt.log), time.Now()) {
			got = append(got, s.Kind+": "+s.Text)
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Of a long log only the end counts, and its first line, which is cut, not at all.
func TestSignsOfALongLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	forced := `{"level":"info","msg":"forcing restart member"}` + "\n"
	full := `{"level":"fatal","msg":"failed to save","error":"no space left on device"}` + "\n"
	filler := strings.Repeat(`{"level":"info","msg":"nothing"}`+"\n", 3*signTail/32)
	must(t, os.WriteFile(path, []byte(forced+filler+full), 0o600))
	if s := signs(path, time.Now()); len(s) != 1 || s[0].Kind != planner.SignDiskFull {
		t.Errorf("%+v", s)
	}
	// The cut goes through a line whose rest looks like one of the console format.
	cut := "x\twarn\ta.go:1\tslow fdatasync\n"
	must(t, os.WriteFile(path, []byte(strings.Repeat("y", 100)+cut+strings.Repeat("z", signTail-len(cut))), 0o600))
	if s := signs(path, time.Now()); len(s) != 0 {
		t.Errorf("%+v", s)
	}
	if s := signs(path+".none", time.Now()); s != nil {
		t.Errorf("%+v", s)
	}
}

// What goes on is told of again and again; what was said an hour ago is over. An
// end is for good, and of an etcd that has ended the last words count.
func TestSignsGrowOld(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 11, 0, 0, 0, time.Local)
	const zone = "2006-01-02T15:04:05.000000Z0700"
	for name, log := range map[string]string{
		"json": fmt.Sprintf(`{"level":"warn","ts":%q,"msg":"prober found high clock drift"}
{"level":"info","ts":%q,"msg":"forcing restart member"}`, at.Format(zone), at.Add(-time.Hour).Format(zone)),
		"json in UTC": fmt.Sprintf(`{"level":"warn","ts":%q,"msg":"prober found high clock drift"}
{"level":"info","ts":%q,"msg":"forcing restart member"}`, at.UTC().Format(zone), at.UTC().Format(zone)),
		"console": at.Format(zone) + "\twarn\ta.go:1\tprober found high clock drift\n" + at.Format(zone) + "\tinfo\ta.go:1\tforcing restart member",
		"capnslog": at.Format("2006-01-02 15:04:05.000000") + " W | rafthttp: the clock difference against peer a is too high [2s > 1s]\n" +
			at.Format("2006-01-02 15:04:05.000000") + " I | etcdserver: forcing restart of member a in cluster b at commit index 7",
	} {
		for after, want := range map[time.Duration]int{-time.Hour: 2, 0: 2, signAge - time.Second: 2, signAge + time.Second: 1, 24 * time.Hour: 1} {
			if s := parseSigns([]byte(log), at.Add(after)); len(s) != want || s[want-1].Kind != planner.SignForced {
				t.Errorf("%s after %v: %+v", name, after, s)
			}
		}
		if s := parseSigns([]byte(log), time.Time{}); len(s) != 2 {
			t.Errorf("%s, ended: %+v", name, s)
		}
	}
}

func BenchmarkSigns(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	line := `{"level":"warn","ts":"2026-11-21T11:35:57.439499Z","caller":"txn/util.go:94","msg":"apply request took too long","took":"142.6ms","expected-duration":"100ms","prefix":"read-only range ","request":"key:\"/registry/health\" ","response":"range_response_count:0 size:8"}` + "\n"
	if err := os.WriteFile(path, []byte(strings.Repeat(line, 2000)), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		signs(path, time.Now())
	}
}
