package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/requorum/requorum/tests/harness"
)

// users of the hosts that the controller's key opens: ops has sudo without a
// password, guest has none.
var users = []string{"root", "ops", "guest"}

// writeSeed writes what the host has of its own at its first boot: names, keys, who
// may come in.
func (h *Host) writeSeed(ctx context.Context) error {
	key, err := os.ReadFile(h.b.Path("home/.ssh/id_ed25519.pub"))
	if err != nil {
		return err
	}
	hosts := "127.0.0.1 localhost\n"
	for _, o := range h.b.hosts {
		hosts += o.Address + " " + o.Name + "\n"
	}
	files := map[string]string{"etc/hostname": h.Name + "\n", "etc/hosts": hosts, "etc/machine-id": h.machineID() + "\n"}
	for path, text := range files {
		if err := h.seed(path, text, 0o644, 0, 0); err != nil {
			return err
		}
	}
	for _, user := range users {
		uid, gid, err := owner(h.b.base, user)
		if err != nil {
			return err
		}
		home := "home/" + user
		if user == "root" {
			home = "root"
		}
		if err := h.seed(home+"/.ssh/authorized_keys", string(key), 0o600, uid, gid); err != nil {
			return err
		}
		for _, d := range []string{home, home + "/.ssh"} {
			if err := errors.Join(os.Chmod(h.path("seed", d), 0o700), os.Chown(h.path("seed", d), uid, gid)); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(h.path("seed/etc/ssh"), 0o755); err != nil {
		return err
	}
	_, err = run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", h.Name, "-f", h.path("seed", hostKey))
	return err
}

const hostKey = "etc/ssh/ssh_host_ed25519_key"

func (h *Host) seed(path, text string, mode os.FileMode, uid, gid int) error {
	full := h.path("seed", path)
	return errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), mode), os.Chmod(full, mode), os.Chown(full, uid, gid))
}

// writeKnownHosts has the controller know all hosts, by name and by address; those in
// wrong by a key that another host has.
func (b *Bed) writeKnownHosts(wrong ...string) error {
	var out strings.Builder
	for i, h := range b.hosts {
		whose := h
		if slices.Contains(wrong, h.Name) {
			whose = b.hosts[(i+1)%len(b.hosts)]
		}
		key, err := os.ReadFile(whose.path("seed", hostKey+".pub"))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s,%s %s", h.Name, h.Address, key)
	}
	return os.WriteFile(b.Path("home/.ssh/known_hosts"), []byte(out.String()), 0o600)
}

// KnowKeys writes the controller's known_hosts anew: it has each host's key, but
// another's for those that are named.
func (b *Bed) KnowKeys(wrong ...string) {
	b.t.Helper()
	b.must(b.writeKnownHosts(wrong...))
}

// SSH runs a command on the host as a user, over ssh from the controller.
func (h *Host) SSH(user, line string) harness.Result {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	r := h.b.Finish(h.b.Command(ctx, "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", user+"@"+h.Name, "--", line), "")
	r.Args = []string{user + "@" + h.Name, line}
	return r
}
