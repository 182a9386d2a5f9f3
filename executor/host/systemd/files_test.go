package systemd

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/planner"
)

func inFolder(t *testing.T) string {
	t.Helper()
	dir, before := t.TempDir(), unitDirs
	unitDirs = []string{dir}
	t.Cleanup(func() { unitDirs = before })
	return dir
}

func sum(s string) string {
	b := sha256.Sum256([]byte(s))
	return hex.EncodeToString(b[:])
}

func TestWriteFileKeepsOwnerAndMode(t *testing.T) {
	dir := inFolder(t)
	path := filepath.Join(dir, "etcd.service.d", "zz-requorum.conf")
	f := planner.FileChange{Path: path, Text: "# Written by requorum\none\n"}
	if err := writeFile(f); err != nil {
		t.Fatal(err)
	}
	fi, _ := os.Stat(path)
	folder, _ := os.Stat(filepath.Dir(path))
	if fi.Mode().Perm() != 0o644 || folder.Mode().Perm() != 0o755 {
		t.Errorf("%s in %s", fi.Mode(), folder.Mode())
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 12, 34
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.Stat(path)
	if err := writeFile(f); err != nil { // as it is: not touched
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("a file that is as it should be was written")
	}
	if err := writeFile(planner.FileChange{Path: path, Text: "# Written by requorum\ntwo\n", Was: sum(f.Text)}); err != nil {
		t.Fatal(err)
	}
	fi, _ = os.Stat(path)
	st := fi.Sys().(*syscall.Stat_t)
	if fi.Mode().Perm() != 0o640 || int(st.Uid) != uid || int(st.Gid) != gid {
		t.Errorf("%s of %d:%d", fi.Mode(), st.Uid, st.Gid)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestWriteFileSparesWhatThePlanDidNotSee(t *testing.T) {
	dir := inFolder(t)
	path := filepath.Join(dir, "etcd.service")
	if err := os.WriteFile(path, []byte("by hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "masked.service")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]planner.FileChange{
		"another file than the plan saw": {Path: path, Text: "x"},
		"plan again":                     {Path: path, Text: "x", Was: sum("of before")},
		"gone since the plan":            {Path: filepath.Join(dir, "none"), Text: "x", Was: sum("y")},
		"no plain file":                  {Path: link, Text: "x"},
		"no place for a unit's file":     {Path: "/tmp/x.service", Text: "x"},
	} {
		if err := writeFile(f); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if b, _ := os.ReadFile(path); string(b) != "by hand\n" {
		t.Errorf("%q", b)
	}
	if err := dropFile(path); err == nil {
		t.Error("somebody else's file is removed")
	}
	if err := dropFile(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}

// Nothing hangs where systemd does, and a host without it is told from one.
func TestCommandWithoutSystemd(t *testing.T) {
	if running() {
		t.Skip("systemd runs here")
	}
	s := Unit{Name: "etcd.service"}.Status(t.Context(), 0)
	if !s.Known() || s.Value.State != planner.ServiceNone || s.Value.Unit == nil || !strings.Contains(s.Value.Unit.Problem, "does not run on this host") {
		t.Errorf("%+v", s)
	}
}

func TestRunGivesUp(t *testing.T) {
	began := time.Now()
	_, err := run(t.Context(), 200*time.Millisecond, []string{"sleep", "30"})
	if err == nil || !strings.Contains(err.Error(), "did not end within 200ms: does systemd hang?") || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	if _, err := run(t.Context(), time.Second, []string{"sh", "-c", "echo no such unit >&2; exit 4"}); err == nil || !strings.HasSuffix(err.Error(), ": no such unit") {
		t.Error(err)
	}
}

// What is taken away of requorum's own in a unit's folder is durable: a power cut must not
// bring a fence back whose record is gone.
func TestRemovalsAndLinksAreDurable(t *testing.T) {
	dir := t.TempDir()
	was, wasSync := unitDirs, syncDir
	t.Cleanup(func() { unitDirs, syncDir = was, wasSync })
	unitDirs = []string{dir}
	var synced []string
	syncDir = func(path string) error {
		synced = append(synced, path)
		return wasSync(path)
	}
	folder := filepath.Join(dir, "etcd.service.d")
	for _, name := range []string{"a.conf", "b.conf"} {
		if err := put(filepath.Join(folder, name), fenceText, 0o644, os.Geteuid(), os.Getegid()); err != nil {
			t.Fatal(err)
		}
	}
	synced = nil
	if err := dropFile(filepath.Join(folder, "a.conf")); err != nil || !slices.Equal(synced, []string{folder}) {
		t.Errorf("%v, synced %q", err, synced)
	}
	synced = nil
	if err := dropFile(filepath.Join(folder, "b.conf")); err != nil || !slices.Equal(synced, []string{folder, dir}) {
		t.Errorf("%v, synced %q", err, synced)
	}
	wants := filepath.Join(dir, "multi-user.target.wants")
	for _, path := range []string{wants, folder} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	synced = nil
	if err := syncLinks(dir); err != nil || !slices.Equal(synced, []string{wants, dir}) {
		t.Errorf("%v, synced %q", err, synced)
	}
}

// A drop-in that an earlier requorum wrote with a secret in it is known again by what a
// plan may see of it; and no plan's word for a secret is written into one.
func TestSecretsInDropIns(t *testing.T) {
	dir := inFolder(t)
	path := filepath.Join(dir, "etcd.service.d", "zz-requorum.conf")
	text := "# Written by requorum\n[Service]\nExecStart=/usr/bin/etcd \\\n    --cors=http://ops:x9x@h\n"
	if err := writeFile(planner.FileChange{Path: path, Text: text}); err != nil {
		t.Fatal(err)
	}
	told := strings.ReplaceAll(text, "ops:x9x", planner.Untold)
	err := writeFile(planner.FileChange{Path: path, Text: told, Was: sum(told)})
	if now, _ := os.ReadFile(path); err == nil || string(now) != text {
		t.Errorf("%v\n%s", err, now)
	}
	other := strings.ReplaceAll(text, "ops:x9x@", "")
	if err := writeFile(planner.FileChange{Path: path, Text: other, Was: sum(told)}); err != nil {
		t.Error(err)
	}
}

// What a unit would start is compared as it is told, and has all that is no secret.
func TestNextHasSettingsBesideSecrets(t *testing.T) {
	p := properties{
		"Environment": "ETCD_CORS=http://ops:x9x@h",
		"ExecStart":   "{ path=/usr/bin/etcd ; argv[]=/usr/bin/etcd --name=m1 --data-dir=/d --experimental-x=a=b ; ignore_errors=no ; start_time=[n/a] }",
	}
	_, next, err := p.next()
	if err != nil || !slices.Contains(next, "--cors=http://(sensitive)@h") || !slices.Contains(next, "--experimental-x=a=b") || !slices.Contains(next, "--name=m1") {
		t.Errorf("%q %v", next, err)
	}
}
