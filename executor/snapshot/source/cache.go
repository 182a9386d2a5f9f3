package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/planner"
)

// The files of one source in the cache. A finished file's name ends in the id of
// what it is, so that a newer version never takes the place of one that a plan
// names.
//
//	lock          held while one Fetch works here
//	begun.part    a download that is not finished
//	begun.json    which version begun.part is the beginning of
//	body-ID       a finished download, as it was served
//	body.json     which version that is; written last
//	snapshot-ID   body-ID, or a local file, unpacked
type store struct {
	dir  string
	lock *os.File
}

// version is what a server says of one version of a file.
type version struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"` // as served
	// Exact says that LastModified is older than the answer by more than its
	// resolution, so that bytes of two versions can't be mixed under it.
	Exact     bool   `json:"exact,omitempty"`
	Size      int64  `json:"size"` // -1: not known
	FetchedAt string `json:"fetched_at,omitempty"`
}

// id is the version as part of a file's name.
func (v version) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s", v.ETag, v.LastModified, v.Size, v.FetchedAt))
	return hex.EncodeToString(sum[:8])
}

// CacheDir is the user's folder for Options.Cache:
// $XDG_CACHE_HOME/requorum/snapshots, or below ~/.cache.
func CacheDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" || !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("fetched snapshots have no place: set XDG_CACHE_HOME or HOME: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "requorum", "snapshots"), nil
}

// openStore makes the place's folder and waits until nobody else works in it.
func openStore(ctx context.Context, cache string, p place) (*store, error) {
	if cache == "" {
		return nil, refuse(planner.CodeSnapshotUnreadable, nil, "%s has to be kept on this machine, and there is no folder for it: set XDG_CACHE_HOME or HOME", p.shown())
	}
	s := &store{dir: filepath.Join(cache, p.key())}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, refuse(planner.CodeSnapshotUnreadable, err, "the folder for fetched snapshots can't be made: %v", err)
	}
	// Decrypted snapshots lie there.
	for _, dir := range []string{cache, s.dir} {
		if err := private(dir); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, refuse(planner.CodeSnapshotUnreadable, err, "the folder for fetched snapshots can't be used: %v", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			s.lock = f
			return s, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, refuse(planner.CodeSnapshotUnreadable, err, "%s can't be locked: %v", f.Name(), err)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			f.Close()
			return nil, refuse(planner.CodeSnapshotUnreadable, err, "another requorum fetches %s, and this one was ended while it waited", p.shown())
		}
	}
}

// private makes sure that nobody else reads what lies in dir.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return refuse(planner.CodeSnapshotUnreadable, err, "the folder for fetched snapshots can't be used: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err == nil && int(st.Uid) != os.Geteuid() {
		return refuse(planner.CodeSnapshotUnreadable, nil, "%s belongs to another user (uid %d), who could exchange what is fetched to it: remove it, or set XDG_CACHE_HOME", dir, st.Uid)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return refuse(planner.CodeSnapshotUnreadable, err, "%s is open to others and can't be closed: %v", dir, err)
	}
	return nil
}

func (s *store) close()                  { s.lock.Close() }
func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

// read gives the version that a record describes, and whether there is one.
func (s *store) read(name string) (version, bool) {
	var v version
	data, err := os.ReadFile(s.path(name))
	if err != nil || json.Unmarshal(data, &v) != nil {
		return version{}, false
	}
	return v, true
}

// write replaces a record.
func (s *store) write(name string, v version) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeWhole(s.path(name), func(f *os.File) error {
		_, err := f.Write(append(data, '\n'))
		return err
	})
}

// body is the finished download, if it is there in full.
func (s *store) body() (path string, v version, ok bool) {
	v, ok = s.read("body.json")
	path = s.path("body-" + v.id())
	info, err := os.Stat(path)
	return path, v, ok && err == nil && (v.Size < 0 || info.Size() == v.Size)
}

// name gives the finished download its name. It is not taken for one before
// trust says so.
func (s *store) name(v version) (string, error) {
	path := s.path("body-" + v.id())
	if err := publish(s.path("begun.part"), path); err != nil {
		return "", err
	}
	s.drop("begun.json")
	return path, nil
}

// trust makes a download the one that need not be fetched again, and removes the
// ones before it.
func (s *store) trust(v version) error {
	if err := s.write("body.json", v); err != nil {
		return err
	}
	s.dropOthers(v.id())
	return nil
}

// distrust removes a download that was found to be damaged, so that the next try
// fetches it again.
func (s *store) distrust(v version) {
	s.drop("body.json")
	s.drop("body-" + v.id())
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
