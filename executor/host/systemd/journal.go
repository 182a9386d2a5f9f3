package systemd

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// journalLines is how much of a unit's journal is looked at, from its end.
const journalLines = "400"

// entry is a line of the journal (systemd.journal-fields(7)).
type entry struct {
	Message    any    `json:"MESSAGE"` // a text, or bytes where it is none
	Priority   string `json:"PRIORITY"`
	Time       string `json:"__REALTIME_TIMESTAMP"` // microseconds
	Comm       string `json:"_COMM"`
	PID        string `json:"_PID"`
	OfUnit     string `json:"_SYSTEMD_UNIT"`
	Invocation string `json:"_SYSTEMD_INVOCATION_ID"`
	About      string `json:"INVOCATION_ID"` // of systemd's own words about a unit
}

func (e entry) text() string {
	switch m := e.Message.(type) {
	case string:
		return m
	case []any:
		b := make([]byte, 0, len(m))
		for _, x := range m {
			if n, ok := x.(float64); ok {
				b = append(b, byte(n))
			}
		}
		return string(b)
	}
	return ""
}

func (e entry) time() time.Time {
	us, _ := strconv.ParseInt(e.Time, 10, 64)
	return time.UnixMicro(us)
}

// grave reports whether it was logged as an error, or worse (syslog(3)).
func (e entry) grave() bool {
	n, err := strconv.Atoi(e.Priority)
	return err == nil && n <= 3
}

// said is what a unit's journal tells of its last start, and of the one before.
type said struct {
	etcd   []byte // etcd's own lines since it was last started
	before []byte // those before
	system string // systemd's last complaint about it
	failed string // that it failed, which says nothing of why
}

// readJournal is empty where there is no journal, or it may not be read.
func readJournal(ctx context.Context, unit, invocation string) said {
	text, err := command(ctx, askLimit, "journalctl", "--no-pager", "--quiet", "--output=json", "--lines="+journalLines,
		"--output-fields=MESSAGE,PRIORITY,_COMM,_PID,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,INVOCATION_ID", "--unit="+unit)
	if err != nil {
		return said{}
	}
	return parseJournal([]byte(text), unit, invocation)
}

func parseJournal(text []byte, unit, invocation string) said {
	var out said
	for raw := range bytes.SplitSeq(text, []byte("\n")) {
		var e entry
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		now := invocation == "" || e.Invocation == invocation || e.About == invocation
		// What a child says before it becomes etcd, "(etcd)", is systemd's too.
		if e.PID == "1" || e.OfUnit != unit || strings.HasPrefix(e.Comm, "(") {
			switch text := strings.TrimSpace(e.text()); {
			case !now || !e.grave():
			case strings.HasPrefix(text, "Failed to start "):
				out.failed = text
			default:
				out.system = text
			}
			continue
		}
		if line := logLine(e); now {
			out.etcd = append(out.etcd, line...)
		} else {
			out.before = append(out.before, line...)
		}
	}
	return out
}

// logLine is a journal's line as it would stand in a log file. etcd 3.4 writes to the
// journal itself, and leaves the level and the time to it.
func logLine(e entry) []byte {
	text := e.text()
	if strings.HasPrefix(text, "{") || !e.grave() || strings.HasPrefix(text, "panic: ") {
		return []byte(text + "\n")
	}
	b, _ := json.Marshal(map[string]string{"level": "error", "ts": e.time().UTC().Format(time.RFC3339Nano), "msg": text})
	return append(b, '\n')
}

// words are the last that matter: etcd's, or else systemd's.
func (s said) words() string {
	loud, faint := process.Words(s.etcd)
	for _, w := range []string{loud, s.system, faint, s.failed} {
		if w != "" {
			return w
		}
	}
	return ""
}

// signs are what etcd tells of trouble; with runs, only what may still be.
func (s said) signs(runs bool) []planner.LogSign {
	now := time.Time{}
	if runs {
		now = time.Now()
	}
	return process.Signs(s.etcd, now)
}
