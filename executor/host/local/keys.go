package local

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/executor/host/systemd"
	"github.com/requorum/requorum/planner"
)

// maxKeyFile bounds what is read of a file of certificates: a system's whole bundle has
// a quarter of it.
const maxKeyFile = 1 << 20

// Keys implements host.Host. A file system that hangs gives unknown facts.
func (d *Driver) Keys(ctx context.Context, asks []host.KeyAsk) map[string]planner.Fact[host.Keys] {
	type answer struct {
		id   string
		keys planner.Fact[host.Keys]
	}
	answers := make(chan answer, len(asks))
	out := host.UnknownKeys(asks, "not read in time")
	for _, a := range asks {
		go func() { answers <- answer{a.ID(), keysOf(ctx, a)} }()
	}
	for range asks {
		select {
		case a := <-answers:
			out[a.id] = a.keys
		case <-ctx.Done():
			return out
		}
	}
	return out
}

func keysOf(ctx context.Context, a host.KeyAsk) planner.Fact[host.Keys] {
	who, err := runsAs(ctx, a.Place)
	if err != nil {
		return planner.Unknown[host.Keys](err.Error())
	}
	var k host.Keys
	texts := map[string][]byte{}
	for _, f := range []struct{ what, path string }{{"CA", a.CA}, {"certificate", a.Cert}, {"key", a.Key}} {
		if f.path == "" {
			continue
		}
		text, err := who.read(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			k.Problem, k.Detail = planner.CodeCertificateMissing, fmt.Sprintf("the %s %s does not exist", f.what, f.path)
		case errors.Is(err, fs.ErrPermission):
			k.Problem, k.Detail = planner.CodeCertificateUnreadable, fmt.Sprintf("the %s %s can't be read by %s, as whom the member runs", f.what, f.path, who.name)
		case err != nil:
			return planner.Unknown[host.Keys](err.Error())
		default:
			texts[f.what] = text
			continue
		}
		return planner.Known(k)
	}
	if k.CA = certificates(texts["CA"]); a.CA != "" && len(k.CA) == 0 {
		k.Problem, k.Detail = planner.CodeCertificateInvalid, fmt.Sprintf("the CA %s has no certificate in PEM form", a.CA)
		return planner.Known(k)
	}
	if k.Cert = certificates(texts["certificate"]); len(k.Cert) == 0 {
		k.Problem, k.Detail = planner.CodeCertificateInvalid, fmt.Sprintf("%s has no certificate in PEM form", a.Cert)
		return planner.Known(k)
	}
	if _, err := tls.X509KeyPair(texts["certificate"], texts["key"]); err != nil {
		k.Problem, k.Detail = planner.CodeCertificateKey, fmt.Sprintf("%s is not the key of %s", a.Key, a.Cert)
		if !strings.Contains(err.Error(), "does not match") {
			k.Problem, k.Detail = planner.CodeCertificateInvalid, fmt.Sprintf("%s and %s are no certificate and key: %v", a.Cert, a.Key, err)
		}
		return planner.Known(k)
	}
	k.OldCA = oldCA(a.PID, a.CA)
	return planner.Known(k)
}

// certificates are those of a text of PEM blocks, in that form; a key beside them is
// left out.
func certificates(text []byte) []byte {
	var out bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes})
		}
	}
	return out.Bytes()
}

// oldCA says why a process has another CA than lies at path: it was written, or the way
// to it changed, since the process started. The time of the change is the kernel's own,
// which a copy that keeps the times of its source does not set back.
func oldCA(pid int, path string) planner.Fact[string] {
	if pid <= 0 || path == "" {
		return planner.Known("")
	}
	started, err := process.StartedAt(pid)
	if err != nil {
		return planner.Unknown[string](err.Error())
	}
	changed, err := changedAt(path)
	switch {
	case err != nil:
		return planner.Unknown[string](err.Error())
	case changed.After(time.Now().Add(time.Second)):
		return planner.Unknown[string](fmt.Sprintf("%s was changed at %s, which is yet to come: the clock was set back", path, changed.UTC().Format(time.RFC3339)))
	case changed.After(started.Add(startBlur)):
		return planner.Known(fmt.Sprintf("%s was changed at %s, after process %d had started", path, changed.UTC().Format(time.RFC3339), pid))
	}
	return planner.Known("")
}

// startBlur is how exactly the start of a process is known; no etcd has read anything by
// then.
const startBlur = 20 * time.Millisecond

// changedAt is when what is found at path last became another: the file itself, or a
// link on the way to it.
func changedAt(path string) (time.Time, error) {
	var latest time.Time
	note := func(st unix.Stat_t) {
		if t := time.Unix(st.Ctim.Unix()); t.After(latest) {
			latest = t
		}
	}
	const maxLinks = 40 // the kernel's own limit
	for links := 0; ; {
		link, st, err := firstLink(path)
		if err != nil {
			return latest, err
		}
		note(st)
		if link == "" {
			return latest, nil
		}
		to, err := os.Readlink(link)
		if links++; err != nil || links > maxLinks {
			return latest, fmt.Errorf("%s can't be followed", path)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(link), to)
		}
		path = filepath.Join(to, strings.TrimPrefix(path, link))
	}
}

// firstLink is the first part of the path that is a link, with what the kernel says of
// it; without one, of the file.
func firstLink(path string) (link string, st unix.Stat_t, err error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := range parts {
		part := "/" + strings.Join(parts[:i+1], "/")
		if err := unix.Lstat(part, &st); err != nil {
			return "", st, fmt.Errorf("%s: %w", part, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return part, st, nil
		}
	}
	return "", st, nil
}

// user is whom a member runs as.
type user struct {
	name     string
	uid, gid int
	groups   []int
}

// runsAs is the user of a place's unit; a member of requorum's own supervisor runs as
// whoever runs requorum there.
func runsAs(ctx context.Context, p planner.Place) (user, error) {
	own := user{name: fmt.Sprintf("uid %d", os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}
	if p.Unit == "" {
		return own, nil
	}
	l, err := layout(p)
	if err != nil {
		return own, err
	}
	o, err := systemd.Unit{Name: p.Unit, Layout: l}.Owner(ctx)
	if err != nil {
		return own, err
	}
	who := user{name: o.Name, uid: o.UID, gid: o.GID, groups: o.Groups}
	if own.uid != 0 && own.uid != who.uid {
		return own, fmt.Errorf("only root can tell what %s, as whom %s runs, may read", o.Name, p.Unit)
	}
	return who, nil
}

// read gives a file's content, with the permissions of the user. They are taken on by
// one thread, for files only, and given back.
func (u user) read(path string) (text []byte, err error) {
	if u.uid == os.Geteuid() {
		return readBounded(path)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		before, gerr := unix.Getgroups()
		if err = gerr; err != nil {
			runtime.UnlockOSThread()
			return
		}
		if err = actAs(u.uid, u.gid, u.groups); err == nil {
			text, err = readBounded(path)
		}
		// A thread that could not be given back its own ends with this goroutine.
		if actAs(os.Geteuid(), os.Getegid(), before) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return text, err
}

// actAs sets whom this thread is for the kernel's checks of files, and nothing else of
// the process: the calls of package unix that set an identity are for all threads.
func actAs(uid, gid int, groups []int) error {
	list := make([]uint32, len(groups)+1) // never empty, so that it has an address
	for i, g := range groups {
		list[i] = uint32(g)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	// Both say who it was before; asked again they say whether it took.
	for _, x := range []struct {
		set func(int) (int, error)
		id  int
	}{{unix.SetfsgidRetGid, gid}, {unix.SetfsuidRetUid, uid}} {
		if _, err := x.set(x.id); err != nil {
			return err
		}
		if now, _ := x.set(x.id); now != x.id {
			return fmt.Errorf("can't look at files as %d: %w", x.id, unix.EPERM)
		}
	}
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s is larger than any file of certificates", path)
	}
	return text, err
}
