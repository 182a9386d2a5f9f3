package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// unit is one thing that is put in place by a single rename or exchange.
type unit struct {
	staged string // where it is prepared
	target string // where it goes
	aside  string // folder of the slots for what was at target
	name   string // its name in a slot
}

// dataUnit is the data directory, or only its member/ where it is pinned.
func dataUnit(l host.Layout) unit {
	if l.Inside {
		return unit{filepath.Join(l.StagingData(), "member"), l.MemberDir(), l.Aside(), "member"}
	}
	return unit{l.StagingData(), l.DataDir, l.Aside(), "data"}
}

// units are those of a member in the order in which they are put in place: the
// WAL of its own first, so that the data directory's identity, which is in its
// log, is new only when the log is.
func units(l host.Layout) []unit {
	if l.WALDir == "" {
		return []unit{dataUnit(l)}
	}
	return []unit{{l.StagingWAL(), l.WALDir, l.AsideWAL(), "wal"}, dataUnit(l)}
}

// slot is a folder under Layout.Aside for one thing that was moved out of the
// way.
type slot struct {
	dir  string
	name string // of what lies in it; "" for nothing
	// fenceIn is the plain file of a fence that lies in it: never data.
	fenceIn string
}

// swapMark is written into a slot before a staged directory is moved there to be
// exchanged. By the inode it can be told, after a crash, whether what lies in
// the slot is still the staged one or already what was at the target.
type swapMark struct {
	Token string `json:"token"`
	Inode uint64 `json:"inode"`
}

func (s slot) mark() string { return filepath.Join(s.dir, "swap.json") }

// waiting gives the mark where the slot holds a staged directory whose exchange
// did not happen.
func (s slot) waiting() (swapMark, bool) {
	var m swapMark
	b, err := os.ReadFile(s.mark())
	if err != nil || json.Unmarshal(b, &m) != nil || s.name == "" {
		return m, false
	}
	ino, err := inode(filepath.Join(s.dir, s.name))
	return m, err == nil && ino == m.Inode
}

func slots(aside string) []slot {
	entries, _ := os.ReadDir(aside)
	var out []slot
	for _, e := range entries {
		s := slot{dir: filepath.Join(aside, e.Name())}
		for _, name := range []string{"data", "member", "wal"} {
			path := filepath.Join(s.dir, name)
			if host.FenceTextAt(path) != "" {
				s.fenceIn = path
			} else if _, err := os.Lstat(path); err == nil {
				s.name = name
			}
		}
		out = append(out, s)
	}
	return out
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return st.Ino, err
}

// stagedToken is the token of a complete staging that waits, whole or in part,
// to be put in place; "" for none.
func stagedToken(l host.Layout) string {
	token := doneToken(l)
	if token == "" {
		return ""
	}
	u := dataUnit(l) // the last to go
	if _, err := os.Lstat(u.staged); err == nil {
		return token
	}
	for _, s := range slots(u.aside) {
		if m, ok := s.waiting(); ok && m.Token == token {
			return token
		}
	}
	return ""
}

func doneToken(l host.Layout) string {
	b, _ := os.ReadFile(l.StagingDone())
	return strings.TrimSpace(string(b))
}

// settle takes staged directories that were about to be exchanged back to the
// staging. It is the first thing that every request does which uses it.
func settle(l host.Layout) error {
	for _, u := range units(l) {
		for _, s := range slots(u.aside) {
			m, ok := s.waiting()
			if !ok || s.name != u.name || m.Token != doneToken(l) {
				continue
			}
			from := filepath.Join(s.dir, s.name)
			if err := rename(from, u.staged, unix.RENAME_NOREPLACE); err != nil {
				return fmt.Errorf("take back %s: %w", from, err)
			}
		}
	}
	return nil
}

// renameat2 is what tests crash at.
var renameat2 = unix.Renameat2

// rename moves within a file system and makes both folders durable.
func rename(from, to string, flags uint) error {
	if err := renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	if err := host.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	return host.SyncDir(filepath.Dir(from))
}
