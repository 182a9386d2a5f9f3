package journal

import (
	"encoding/json"
	"path/filepath"
)

// Drill is a snapshot that came back whole when it was tried out.
type Drill struct {
	Time     string `json:"time"`   // RFC 3339, UTC: when it ended
	Source   string `json:"source"` // without secrets; a file's path is absolute
	SHA256   string `json:"sha256"`
	Revision int64  `json:"revision"`
	Etcd     string `json:"etcd"` // the version that it was read back by
}

// AppendDrill records d, on a line of its own even after one that a crash cut short.
func AppendDrill(dir string, d Drill) error {
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return appendLine(dir, drillsPath(dir), line)
}

// LastDrill gives the last drill that is one of those asked for; nil for none.
func LastDrill(dir string, is func(Drill) bool) (*Drill, error) {
	return lastLine(drillsPath(dir), is)
}

func drillsPath(dir string) string { return filepath.Join(dir, "drills.jsonl") }
