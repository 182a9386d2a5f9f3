package process

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

// etcd writes to the log file itself, through a descriptor of its own opened
// for appending, never through a pipe to the supervisor: a pipe would kill or
// block etcd once its reader is gone, and etcd has to outlive its supervisor.
// A file that another process holds open can't be rotated by renaming it, so the
// supervisor copies it and then truncates it, which O_APPEND makes safe. What
// etcd writes between the end of the copy and the truncation, some microseconds,
// is lost from the log; without a supervisor the file grows until the next one.
const keptLogs = 5

// openLog opens the log for appending.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// rotate copies path to path.1 and empties it, if it has reached limit bytes.
// The older ones move up; path.5 is replaced.
func rotate(path string, limit int64) error {
	fi, err := os.Stat(path)
	if err != nil || fi.Size() < limit {
		return err
	}
	for i := keptLogs - 1; i >= 1; i-- {
		err := os.Rename(fmt.Sprintf("%s.%d", path, i), fmt.Sprintf("%s.%d", path, i+1))
		if err != nil && !absent(err) {
			return err
		}
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// A full disk must not keep the log from being emptied, least of all then.
	_, copyErr := io.Copy(out, in)
	if err := out.Close(); copyErr == nil {
		copyErr = err
	}
	if err := os.Truncate(path, 0); err != nil {
		return err
	}
	return copyErr
}

// line is a line of etcd's log (zap), and of ours in it.
type line struct {
	Level  string `json:"level"`
	TS     string `json:"ts"`
	Logger string `json:"logger,omitempty"`
	Msg    string `json:"msg"`
	Error  string `json:"error,omitempty"`
}

// The supervisor's own lines, so that its words are not taken for etcd's.
const (
	loggerName = "requorum"
	startMsg   = "starting etcd"
	adoptMsg   = "supervising an etcd that was started elsewhere"
)

func say(w io.Writer, level, msg string) {
	b, _ := json.Marshal(line{Level: level, TS: time.Now().UTC().Format(time.RFC3339Nano), Logger: loggerName, Msg: msg})
	_, _ = w.Write(append(b, '\n')) // nobody to tell
}

// lastWords is etcd's last error, fatal or panic line since it was last started;
// "" where it has none. It looks at the log's last 256 KB.
func lastWords(path string) string {
	words, _ := parseWords(tail(path, 256<<10))
	return words
}

// Words are etcd's last error, fatal or panic line in a piece of its log, and,
// failing these, what else there is: its last warning, or a line that is no log line.
func Words(log []byte) (loud, faint string) { return parseWords(log) }

// dyingWords is lastWords of an etcd that has ended: failing these, its last
// warning, for that is how it reports bad flags, or a line that is no log line.
func dyingWords(path string) string {
	words, faint := parseWords(tail(path, 256<<10))
	if words == "" {
		return faint
	}
	return words
}

func tail(path string, n int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.Size() > n {
		_, _ = f.Seek(-n, io.SeekEnd)
	}
	b, _ := io.ReadAll(io.LimitReader(f, n))
	return b
}

func parseWords(b []byte) (loud, faint string) {
	plain := false
	for raw := range bytes.SplitSeq(b, []byte("\n")) {
		text := strings.TrimSpace(string(raw))
		var l line
		if json.Unmarshal(raw, &l) != nil || l.Msg == "" {
			switch {
			case strings.HasPrefix(text, "panic: "), strings.HasPrefix(text, "fatal error: "):
				loud = text
			case text != "" && !plain:
				faint, plain = text, true
			}
			continue
		}
		switch {
		case l.begins():
			loud, faint, plain = "", "", false
		case l.Logger == loggerName:
		case l.Level == "error", l.Level == "fatal", l.Level == "panic", l.Level == "dpanic":
			loud = l.words()
		case l.Level == "warn" && l.Error != "":
			faint = l.words()
		}
	}
	return clip(loud), clip(faint)
}

// begins reports whether the words of another etcd follow.
func (l line) begins() bool {
	return l.Logger == loggerName && (strings.HasPrefix(l.Msg, startMsg) || strings.HasPrefix(l.Msg, adoptMsg))
}

// final are the words with which etcd ends for good: removed from the cluster, or
// robbed of what it had told the leader to have (raft commitTo), or left alone by
// a force-new-cluster that it was not fit for.
var final = regexp.MustCompile(`th(e|is) member has been permanently removed|removed all voters|tocommit\(\d+\) is out of range \[lastIndex\(\d+\)\]`)

// finalWords are such words of the etcd that has just ended; "" for none.
func finalWords(path string) string {
	words := ""
	for raw := range bytes.SplitSeq(tail(path, 256<<10), []byte("\n")) {
		var l line
		if json.Unmarshal(raw, &l) != nil {
			l = line{Msg: strings.TrimSpace(string(raw))}
		}
		switch {
		case l.begins():
			words = ""
		case l.Logger != loggerName && final.MatchString(l.words()):
			words = l.words()
		}
	}
	return clip(words)
}

func (l line) words() string {
	if l.Error == "" {
		return l.Msg
	}
	return l.Msg + ": " + l.Error
}

// clip is a text as it is shown: without what etcd repeats of secrets, and not too long.
func clip(s string) string {
	const most = 400
	s = Scrub(s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
