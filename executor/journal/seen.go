package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Seen is a cluster as an apply left it in order.
type Seen struct {
	Time      string   `json:"time"`
	Cluster   string   `json:"cluster"`
	ClusterID string   `json:"cluster_id"`
	DataDirs  []string `json:"data_dirs"` // on this machine, absolute
	Members   []string `json:"members,omitempty"`
	// Units are the systemd units that keep them, "" for another kind of service.
	Units []string `json:"units,omitempty"`
	// Commands are those of the user's that keep them, nil for another kind of service.
	Commands []*Commands `json:"commands,omitempty"`
}

// Commands start, stop and tell about a member.
type Commands struct {
	Start  []string `json:"start"`
	Stop   []string `json:"stop"`
	Status []string `json:"status"`
	User   string   `json:"user,omitempty"`
}

// Keep adds the members of was that s does not have.
func (s *Seen) Keep(was Seen) {
	for i, name := range was.Members {
		if slices.Contains(s.Members, name) || len(was.DataDirs) != len(was.Members) || len(s.DataDirs) != len(s.Members) {
			continue
		}
		unit, commands := "", (*Commands)(nil)
		if len(was.Units) == len(was.Members) {
			unit = was.Units[i]
		}
		if len(was.Commands) == len(was.Members) {
			commands = was.Commands[i]
		}
		if commands != nil || len(s.Commands) > 0 {
			for len(s.Commands) < len(s.Members) { // those without any
				s.Commands = append(s.Commands, nil)
			}
			s.Commands = append(s.Commands, commands)
		}
		s.Members, s.DataDirs, s.Units = append(s.Members, name), append(s.DataDirs, was.DataDirs[i]), append(s.Units, unit)
	}
}

// AppendSeen records s, on a line of its own even after one that a crash cut
// short.
func AppendSeen(dir string, s Seen) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return appendLine(dir, seenPath(dir), line)
}

// appendLine adds a line to a file of the journal's folder, durably.
func appendLine(dir, path string, line []byte) error {
	if err := mkdirAll(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if torn, err := endsTorn(f); err != nil {
		return err
	} else if torn {
		line = append([]byte("\n"), line...)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return errors.Join(f.Sync(), syncDir(dir)) // it may be new
}

// endsTorn reports whether the file's last line has no end.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}

// LastSeen gives the last cluster that was seen with the data directory; nil
// where there was none.
func LastSeen(dir, dataDir string) (*Seen, error) {
	return lastLine(seenPath(dir), func(s Seen) bool { return slices.Contains(s.DataDirs, dataDir) })
}

// lastLine gives the last record of a file that is one of those asked for; nil for none.
// A line that is no record, such as one that a crash cut short, is passed over; a file
// that can't be read is an error, never "none".
func lastLine[T any](path string, is func(T) bool) (*T, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var last *T
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var x T
		if json.Unmarshal(line, &x) == nil && is(x) {
			last = &x
		}
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func seenPath(dir string) string { return filepath.Join(dir, "seen.jsonl") }
