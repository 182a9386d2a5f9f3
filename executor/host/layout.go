package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Layout is where requorum keeps what belongs to one member: beside its data
// directory, as DATA_DIR.requorum, so that renames stay within a file system;
// or inside it, as DATA_DIR/.requorum, where the data directory is a mount
// point or its parent is on another file system. It is keyed by the absolute
// path, never by a cluster's name.
type Layout struct {
	DataDir string
	WALDir  string // "" for the one inside DataDir
	// Inside is true where Base lies in the data directory; then only member/ is
	// renamed.
	Inside bool
}

// LayoutOf looks at dataDir (absolute) and decides. A directory that does not
// exist yet gets the place beside it. One that is reached through a symbolic
// link, or that is a mount point of any kind (a bind mount within one file
// system too), can't be renamed and so gets the place inside.
func LayoutOf(dataDir, walDir string) Layout {
	dataDir = filepath.Clean(dataDir)
	if walDir != "" {
		walDir = filepath.Clean(walDir)
	}
	return Layout{DataDir: dataDir, WALDir: walDir, Inside: Pinned(dataDir)}
}

// LayoutAt is the layout whose Base is base, as its files were written: the
// supervisor's way, which must not change its mind when a disk is unmounted.
func LayoutAt(base, dataDir, walDir string) Layout {
	return Layout{DataDir: dataDir, WALDir: walDir, Inside: base == filepath.Join(dataDir, ".requorum")}
}

// Pinned reports whether dir exists and can't be renamed: a mount point, the
// root of a file system, or a symbolic link.
func Pinned(dir string) bool {
	var self, parent unix.Stat_t
	if unix.Lstat(dir, &self) != nil {
		return false
	}
	if self.Mode&unix.S_IFMT == unix.S_IFLNK {
		return true
	}
	if unix.Stat(filepath.Dir(dir), &parent) == nil && self.Dev != parent.Dev {
		return true
	}
	var sx unix.Statx_t // mount roots: Linux 5.8 and later, else the device decides
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &sx)
	return err == nil && sx.Attributes_mask&sx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// Base is the folder of all the rest.
func (l Layout) Base() string {
	if l.Inside {
		return filepath.Join(l.DataDir, ".requorum")
	}
	return l.DataDir + ".requorum"
}

// MemberDir is etcd's own folder in the data directory.
func (l Layout) MemberDir() string { return filepath.Join(l.DataDir, "member") }

// Lock is the file that apply locks.
func (l Layout) Lock() string { return filepath.Join(l.Base(), "lock") }

// Epoch has the number of the last lock under which something was done here.
func (l Layout) Epoch() string { return filepath.Join(l.Base(), "epoch") }

// Runs has the copies of the journals of those runs that touched this place.
func (l Layout) Runs() string { return filepath.Join(l.Base(), "runs") }

// Provenance is the record of where the data came from.
func (l Layout) Provenance() string { return filepath.Join(l.Base(), "provenance.json") }

// Ran is there once requorum started etcd on this path under the provenance's
// token: from then on an absent directory is a lost one. Those of earlier tokens
// lie beside it, as ran.*.
func (l Layout) Ran() string { return filepath.Join(l.Base(), "ran") }

// Service is what the supervisor runs.
func (l Layout) Service() string { return filepath.Join(l.Base(), "service.json") }

// SupervisorLock is locked by the supervisor as long as it lives.
func (l Layout) SupervisorLock() string { return filepath.Join(l.Base(), "supervisor.lock") }

// SupervisorState is what the supervisor reports.
func (l Layout) SupervisorState() string { return filepath.Join(l.Base(), "supervisor.json") }

// Log is what etcd and its supervisor print; older ones stand beside it.
func (l Layout) Log() string { return filepath.Join(l.Base(), "etcd.log") }

// Bin has the private copies of binaries.
func (l Layout) Bin() string { return filepath.Join(l.Base(), "bin") }

// Staging has what is being restored: data/ and, with a WAL directory of its
// own, nothing else; StagingWAL then lies on the WAL directory's file system.
func (l Layout) Staging() string { return filepath.Join(l.Base(), "staging") }

// StagingData is the staged data directory; it has member/ in it.
func (l Layout) StagingData() string { return filepath.Join(l.Staging(), "data") }

// StagingWAL is the staged WAL directory where WALDir is set.
func (l Layout) StagingWAL() string {
	return filepath.Join(l.WALDir+".requorum", "staging")
}

// StagingDone is written last: it holds the token that the staging is complete
// under.
func (l Layout) StagingDone() string { return filepath.Join(l.Staging(), "complete") }

// Fresh is the empty directory that takes a fence's place at the first start of a
// new member; then, for a moment, the fence's plain file is there.
func (l Layout) Fresh() string { return filepath.Join(l.Base(), "fresh") }

// Trial is where a throwaway copy is started.
func (l Layout) Trial() string { return filepath.Join(l.Base(), "trial") }

// Aside has directories that were moved out of the way, one folder each.
func (l Layout) Aside() string { return filepath.Join(l.Base(), "aside") }

// AsideWAL is the same for a WAL directory of its own.
func (l Layout) AsideWAL() string { return filepath.Join(l.WALDir+".requorum", "aside") }

// Saved has snapshots that were taken from a running survivor.
func (l Layout) Saved() string { return filepath.Join(l.Base(), "saved") }

// Recovered has what a recovery made of a survivor's copy: the snapshot, its
// record, and, while it is at work, the copy itself.
func (l Layout) Recovered() string { return filepath.Join(l.Base(), "recovered") }

// Exists reports whether requorum has kept anything for this place.
func (l Layout) Exists() bool {
	_, err := os.Stat(l.Base())
	return err == nil
}

// fenceWords begin the plain file that stands where a member was fenced.
const fenceWords = "requorum fenced this member"

// FencePath is where a fence stands: instead of what would be renamed.
func (l Layout) FencePath() string {
	if l.Inside {
		return l.MemberDir()
	}
	return l.DataDir
}

// FenceText is what the fence at this place says; "" where none stands.
func (l Layout) FenceText() string { return FenceTextAt(l.FencePath()) }

// FenceTextAt is what a file says that is, or was, a fence; "" for any other.
func FenceTextAt(path string) string {
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > 1<<16 {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(b), fenceWords) {
		return ""
	}
	return string(b)
}

// NewFenceText is one line for people: where the data is, and since when. The
// slot, which is there once only, tells fences apart.
func NewFenceText(slot, when string) string {
	return fmt.Sprintf("%s on %s: etcd must not run here. Its data is in %s, unchanged; `requorum apply` decides what becomes of it.\n", fenceWords, when, slot)
}
