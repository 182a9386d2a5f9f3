package spec

import (
	"fmt"
	"strings"
)

// Live is what follows etcd:// in the source, and whether it is such a one: ""
// for whichever member of the file has the most, a member's name, or HOST:PORT of
// another cluster's members, with commas between them.
func (s *Snapshot) Live() (from string, ok bool) {
	if s == nil {
		return "", false
	}
	return strings.CutPrefix(s.Source, "etcd://")
}

// Survivor is the NAME of datadir://NAME, a member of the file, and "" for any
// other source.
func (s *Snapshot) Survivor() string {
	if s == nil {
		return ""
	}
	name, ok := strings.CutPrefix(s.Source, "datadir://")
	if !ok || strings.HasPrefix(name, "/") {
		return ""
	}
	return name
}

// IsDataDir reports whether the source is datadir:///DIRECTORY, which is at no
// member's place.
func (s *Snapshot) IsDataDir() bool {
	return s != nil && strings.HasPrefix(s.Source, "datadir:///")
}

// DataDir takes datadir:///DIRECTORY?wal_dir=/DIRECTORY apart; walDir is "" for
// the one inside.
func (s *Snapshot) DataDir() (dir, walDir string, err error) {
	rest := strings.TrimPrefix(s.Source, "datadir://")
	dir, setting, has := strings.Cut(rest, "?")
	if has {
		wal, ok := strings.CutPrefix(setting, "wal_dir=")
		if !ok || !strings.HasPrefix(wal, "/") {
			return "", "", fmt.Errorf("behind the \"?\" of a datadir:// source stands wal_dir=/DIRECTORY, and nothing else")
		}
		walDir = trimSlash(wal)
	}
	return trimSlash(dir), walDir, nil
}

func trimSlash(dir string) string {
	if t := strings.TrimRight(dir, "/"); t != "" {
		return t
	}
	return "/"
}
