package process

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// Ran is the marker at Layout.Ran: requorum started etcd on this path. It is
// durable before the first exec, so that without it etcd never ran here.
type Ran struct {
	Token string `json:"token,omitempty"`
	Name  string `json:"name,omitempty"`
	When  string `json:"when"` // RFC 3339, UTC
	// Empty is the empty data directory that a bootstrap was given; nil for any
	// other start.
	Empty *Seal `json:"empty,omitempty"`
}

// Seal is how an empty directory stood: its inode and the time of its last
// change. etcd makes a file in its data directory before it does anything else
// there, and nothing can set the change time back. So a directory that still
// stands as sealed proves that etcd never got to write: it ended on a bad flag
// or a taken port, and a bootstrap may be tried again.
type Seal struct {
	Inode  uint64 `json:"inode"`
	Change int64  `json:"change"` // ctime, nanoseconds
}

// ReadRan reads the marker. The error is fs.ErrNotExist where there is none.
func ReadRan(l host.Layout) (Ran, error) {
	var r Ran
	return r, readJSON(l.Ran(), &r)
}

// Marker is a marker as it lies on disk.
type Marker struct {
	Path string
	Ran
	Err error // where it can't be read; nothing else is known of it then
}

// Markers gives the marker and the earlier ones that moved aside for another
// token (Ran.* beside it), but for those of which it is proven that their etcd
// wrote nothing.
func Markers(l host.Layout) ([]Marker, error) {
	entries, err := os.ReadDir(l.Base())
	if err != nil && !absent(err) {
		return nil, err
	}
	var out []Marker
	for _, e := range entries {
		path := filepath.Join(l.Base(), e.Name())
		if path != l.Ran() && !strings.HasPrefix(path, l.Ran()+".") {
			continue
		}
		m := Marker{Path: path}
		if m.Err = readJSON(path, &m.Ran); m.Err != nil || !m.Untouched(l.DataDir) {
			out = append(out, m)
		}
	}
	return out, nil
}

// RanUnder reports whether an etcd of that token, or one that is not known, may
// have written something.
func RanUnder(token string, ms []Marker) bool {
	return slices.ContainsFunc(ms, func(m Marker) bool { return m.Err != nil || m.Token == token })
}

// Untouched reports whether it is proven that etcd wrote nothing to dataDir
// since the marker was made.
func (r Ran) Untouched(dataDir string) bool {
	if r.Empty == nil || !Vacant(dataDir) {
		return false
	}
	now, err := sealOf(dataDir)
	return err == nil && now == *r.Empty
}

// Vacant reports whether dir is absent or has nothing in it but lost+found and
// .requorum.
func Vacant(dir string) bool { return vacantBut(dir, "") }

// vacantBut is Vacant that does not mind one name.
func vacantBut(dir, name string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return absent(err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" && e.Name() != ".requorum" && e.Name() != name {
			return false
		}
	}
	return true
}

func sealOf(dir string) (Seal, error) {
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	return Seal{Inode: st.Ino, Change: st.Ctim.Nano()}, err
}

// sealEmpty makes dir where it is absent and seals it. It waits until a change
// would show: file times advance in steps of up to 10 ms.
func sealEmpty(dir string) (*Seal, error) {
	if _, err := host.MkdirAll(dir); err != nil {
		return nil, err
	}
	s, err := sealOf(dir)
	if err != nil {
		return nil, err
	}
	if age := time.Since(time.Unix(0, s.Change)); age < 25*time.Millisecond {
		time.Sleep(25 * time.Millisecond)
	}
	return &s, nil
}
