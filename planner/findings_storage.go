package planner

import (
	"fmt"
	"strings"
)

// problemStates are the states of a data directory by what its reader says is
// wrong with it; the first that fits.
var problemStates = []struct {
	words string
	state StateCode
}{
	{"removed all voters", StateForceNewSpoilt},
	{emptiedWords, StateEmptyDirExisting},
	{"wal directory lost", StateWALLost},
	{"the log ends", StateWALLost},
	{"not the WAL of this db", StateWALLost},
	{"no WAL file", StateWALLost},
	{"no metadata found", StateWALLost},
	{"conflicting metadata", StateWALLost},
	{"older than the WAL's snapshot", StateDBOlderThanLog},
	{"older than the log's snapshot", StateDBOlderThanLog},
	{"failed to find database snapshot file", StateDBLost},
	{"crc mismatch", StateWALCRC},
	{"invalid database", StateDBCorrupt},
	{"from backend", StateDBCorrupt},
	{"the key bucket", StateDBCorrupt},
	{"consistent_index has", StateDBCorrupt},
	{"term has", StateDBCorrupt},
	{"wal", StateWALTorn},
	{"unexpected", StateWALTorn},
}

// problemState is the state that a directory's problem shows; "" where no etcd
// ever said such a thing.
func problemState(problem string) StateCode {
	for _, k := range problemStates {
		if problem != "" && strings.Contains(problem, k.words) {
			return k.state
		}
	}
	return ""
}

// findStorage: what lies on the disks, and what they have room for.
func (b *builder) findStorage(f *finder) {
	for _, m := range b.members {
		name, d := m.spec.Name, m.survivor()
		if s := problemState(d.Problem); s != "" && m.cond != condServing {
			f.add(s, name, "%s", d.Problem)
		}
		if s, why := m.versionState(); s != "" {
			f.add(s, name, "%s", why)
		}
		if text := m.heldTwice(); text != "" {
			f.add(StateDirHeldTwice, name, "%s", text)
		}
		if text := m.diskFull(); text != "" {
			f.add(StateDiskFull, name, "%s", text)
		}
	}
	if s := b.obs.Snapshot; s != nil && s.Problem != "" {
		f.add(StateSnapshotBad, "", "%s", orWord(s.Detail, string(s.Problem)))
	}
}

// versionState is whether the directory of a member that is to be started is too
// new or too old for the etcd that would be.
func (m *member) versionState() (StateCode, string) {
	switch m.cond {
	case condDown, condFenced:
	default:
		return "", ""
	}
	bin := m.seen.Binary
	if !bin.Known() || minor(bin.Value.Version) < 0 {
		return "", ""
	}
	ok, why := startsFromDir(m.survivor(), bin.Value.Version)
	switch {
	case ok:
		return "", ""
	case m.survivor().minor() < minor(bin.Value.Version):
		return StateDirOlderThanBinary, why
	}
	return StateDirNewerThanBinary, why
}

// minor is that of the etcd that wrote the directory, as far as it says.
func (d DataDir) minor() int {
	if d.StorageVersion == "" {
		return minor(d.ClusterVersion)
	}
	return minor(d.StorageVersion)
}

// heldTwice says who else has a directory open, so that its member can't start; ""
// for nobody.
func (m *member) heldTwice() string {
	for _, w := range []string{"flocked by another process", "file already locked"} {
		if words := m.lastWords(); strings.Contains(words, w) {
			return words
		}
	}
	if d := m.data(); len(d.Waiting) > 0 {
		return fmt.Sprintf("process %d has %s open, and process %d waits for it", d.HeldBy, m.spec.DataDir, d.Waiting[0])
	}
	s := m.seen.Service
	if m.cond != condRunning || !s.Known() || s.Value.State == ServiceRunning || m.data().HeldBy == 0 || s.Value.Foreign != nil && s.Value.State == ServiceNone {
		return ""
	}
	return fmt.Sprintf("process %d has %s open, and is not the member's service", m.data().HeldBy, m.spec.DataDir)
}

// diskFull says that a member has no room to write; "" where it has, or it is not
// known. Words of before count only while there still is no room.
func (m *member) diskFull() string {
	free := m.seen.FreeBytes
	room := free.Known() && free.Value >= walSize+walSize/10
	if text := m.says(SignDiskFull, "no space left on device"); text != "" && !room {
		return text
	}
	return ""
}
