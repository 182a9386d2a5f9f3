package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Owner is whom a service's process runs as.
type Owner struct {
	Name     string
	UID, GID int
}

// OwnerOf finds a user, by name or number, and the group: "" is the user's own.
func OwnerOf(name, group string) (Owner, error) {
	o := Owner{Name: name}
	who, err := user.Lookup(name)
	if err != nil {
		if who, err = user.LookupId(name); err != nil {
			return o, fmt.Errorf("the user %s is not known on this host: %w", name, err)
		}
	}
	gid := who.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			if g, err = user.LookupGroupId(group); err != nil {
				return o, fmt.Errorf("the group %s is not known on this host: %w", group, err)
			}
		}
		gid = g.Gid
	}
	o.UID, err = strconv.Atoi(who.Uid)
	if err == nil {
		o.GID, err = strconv.Atoi(gid)
	}
	return o, err
}

// Give makes the directories the owner's, with all that is in them, but for what
// requorum keeps there. "" and what is absent is passed over.
func (o Owner) Give(dirs ...string) error {
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if err := o.giveTree(dir); err != nil {
			return fmt.Errorf("%s is not given to %s: %w", dir, o.Name, err)
		}
	}
	return nil
}

func (o Owner) giveTree(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".requorum" || d.Name() == "lost+found"):
			return fs.SkipDir
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) == o.UID && int(st.Gid) == o.GID {
			return nil
		}
		return os.Lchown(path, o.UID, o.GID)
	})
}

// Reaches refuses a directory that the owner can't get to.
func (o Owner) Reaches(dir string) error {
	if o.UID == 0 {
		return nil
	}
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		fi, err := os.Stat(up)
		if err != nil {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		may := fi.Mode().Perm()&0o001 != 0 || int(st.Uid) == o.UID && fi.Mode().Perm()&0o100 != 0 || int(st.Gid) == o.GID && fi.Mode().Perm()&0o010 != 0
		if !may {
			return fmt.Errorf("%s, as whom etcd runs, can't get to %s: %s is %s of user %d; chmod o+x %s", o.Name, dir, up, fi.Mode().Perm(), st.Uid, up)
		}
		if up == "/" {
			return nil
		}
	}
}
