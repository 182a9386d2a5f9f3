package process

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/requorum/requorum/planner"
)

// signKinds are the phrases of etcd 3.4 to 3.7 by what they are a sign of; each
// stands in a line's message or in its error. Those after the first of a kind are
// other versions' words for it, or the other side's.
var signKinds = []struct {
	kind string
	// goesOn is a trouble that etcd tells of again and again while it lasts: what
	// was said long ago is over.
	goesOn  bool
	phrases []string
}{
	{planner.SignClockDrift, true, []string{ // rafthttp/probing_status.go
		"prober found high clock drift",
		"the clock difference against peer", // 3.4's capnslog
	}},
	{planner.SignPeerTLS, true, []string{"rejected connection on peer endpoint"}}, // embed/config_logging.go, from 3.5 on
	{planner.SignIDMismatch, true, []string{"cluster ID mismatch"}},               // rafthttp/http.go, util.go and stream.go
	{planner.SignSlowDisk, true, []string{ // wal/wal.go, etcdserver/raft.go
		"slow fdatasync",
		"failed to send out heartbeat on time",
		"sync duration of", // 3.4's capnslog
	}},
	{planner.SignOverloaded, true, []string{ // etcdserver/errors
		"etcdserver: too many requests",
		"server is likely overloaded", // 3.4's capnslog
	}},
	{planner.SignDiskFull, false, []string{"no space left on device"}},
	{planner.SignTooManyLearner, false, []string{"too many learner members in cluster"}}, // membership/errors.go
	{planner.SignRemoved, false, []string{ // rafthttp/util.go, etcdserver/server.go
		"the member has been permanently removed from the cluster",
		"this member has been permanently removed from the cluster",
	}},
	{planner.SignForced, false, []string{ // etcdserver/bootstrap.go
		"forcing restart member",
		"forcing restart of member", // 3.4's capnslog
	}},
}

const (
	// signTail is how much of a log is looked at, from its end.
	signTail = 256 << 10
	// signAge is after how long a trouble that goes on is over where nothing more
	// is said of it: the slowest, a clock's, is told of every 30 s.
	signAge = 10 * time.Minute
)

// signs are what the end of a log tells of trouble since etcd was last started:
// each kind once, with its last words, in the order of signKinds. now is the time;
// of an etcd that has ended, with the zero time, its last words count as new.
func signs(path string, now time.Time) []planner.LogSign {
	b := tail(path, signTail)
	if len(b) == signTail { // the first line is the end of one
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return parseSigns(b, now)
}

// Signs are what a piece of a log tells of trouble at the time now; of an etcd that
// has ended, with the zero time, its last words count as new.
func Signs(log []byte, now time.Time) []planner.LogSign { return parseSigns(log, now) }

func parseSigns(b []byte, now time.Time) []planner.LogSign {
	last := make([]line, len(signKinds))
	newest := ""
	for raw := range bytes.SplitSeq(b, []byte("\n")) {
		switch {
		case bytes.Contains(raw, []byte(loggerName)) && parseLine(raw).begins():
			clear(last)
		case mayBeSign(raw):
			l := parseLine(raw)
			if i := signOf(l); i >= 0 {
				last[i], newest = l, l.TS
			}
		}
	}
	if t, ok := lineTime(newest); ok && now.IsZero() {
		now = t
	}
	var out []planner.LogSign
	for i, l := range last {
		if t, ok := lineTime(l.TS); l.Msg == "" || ok && signKinds[i].goesOn && now.Sub(t) > signAge {
			continue
		}
		out = append(out, planner.LogSign{Kind: signKinds[i].kind, Text: clip(l.words())})
	}
	return out
}

// lineTime is a line's time as etcd writes it (client/pkg/logutil); false where it
// can't be told.
func lineTime(ts string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.ParseInLocation(layout, ts, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// mayBeSign is a fast look at a line: most have nothing to say.
func mayBeSign(raw []byte) bool {
	for _, k := range signKinds {
		for _, p := range k.phrases {
			if bytes.Contains(raw, []byte(p)) {
				return true
			}
		}
	}
	return bytes.Contains(raw, []byte(unhealthy))
}

// signOf is the place in signKinds of what the line is a sign of, -1 for none. A
// phrase in another of its fields, in a key say, is none.
func signOf(l line) int {
	if l.Msg == "" || l.Logger == loggerName {
		return -1
	}
	for i, k := range signKinds {
		if k.kind == planner.SignPeerTLS && strings.Contains(l.Error, withoutCertificate) {
			continue
		}
		if k.kind == planner.SignPeerTLS && isPeerTLS(l) {
			return i
		}
		for _, p := range k.phrases {
			if strings.Contains(l.Msg, p) || strings.Contains(l.Error, p) {
				return i
			}
		}
	}
	return -1
}

// withoutCertificate is said of whoever dials a peer listener and is no peer: those have
// one.
const withoutCertificate = "client didn't provide a certificate"

// unhealthy is how the side that dials tells of a peer that it does not get
// through to (rafthttp/probing_status.go).
const unhealthy = "prober detected unhealthy status"

// isPeerTLS reports whether a peer can't be reached because of its certificate or
// ours.
func isPeerTLS(l line) bool {
	return l.Msg == unhealthy && (strings.Contains(l.Error, "tls: ") || strings.Contains(l.Error, "x509: "))
}

// capnslog begins a line of etcd 3.4 that is not told to log otherwise:
// "2021-05-04 21:27:11.856471 E | rafthttp: ".
var capnslog = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [A-Z] \| \S+: `)

// parseLine reads a line of etcd's log in any of its formats; Msg is empty for what
// is none.
func parseLine(raw []byte) line {
	var l line
	if json.Unmarshal(raw, &l) == nil {
		return l
	}
	text := strings.TrimRight(string(raw), "\r")
	if begin := capnslog.FindString(text); begin != "" {
		ts, _, _ := strings.Cut(begin, " ") // the date
		clock, _, _ := strings.Cut(begin[len(ts)+1:], " ")
		return line{TS: ts + " " + clock, Msg: text[len(begin):]}
	}
	return parseConsole(text)
}

// levels are zap's, as the console format writes them.
var levels = map[string]bool{"debug": true, "info": true, "warn": true, "error": true, "dpanic": true, "panic": true, "fatal": true}

// parseConsole reads zap's console format: time, level, the logger's name where it
// has one, caller, message and the fields as JSON where there are some, with tabs
// between.
func parseConsole(text string) line {
	col := strings.Split(text, "\t")
	if len(col) < 4 || !levels[col[1]] {
		return line{}
	}
	var fields struct {
		Error string `json:"error"`
	}
	if end := col[len(col)-1]; len(col) > 4 && strings.HasPrefix(end, "{") && json.Unmarshal([]byte(end), &fields) == nil {
		col = col[:len(col)-1]
	}
	return line{TS: col[0], Level: col[1], Msg: col[len(col)-1], Error: fields.Error}
}
