package load

import (
	"path/filepath"
	"strings"
	"unicode"
)

// systemDirs are directories that can't be one member's: moving them aside, as
// every restore does with a data directory, would take down the machine.
var systemDirs = map[string]bool{
	"/": true, "/bin": true, "/boot": true, "/dev": true, "/etc": true, "/home": true, "/lib": true,
	"/lib32": true, "/lib64": true, "/media": true, "/mnt": true, "/opt": true, "/proc": true,
	"/root": true, "/run": true, "/sbin": true, "/srv": true, "/sys": true, "/tmp": true, "/usr": true,
	"/usr/bin": true, "/usr/lib": true, "/usr/local": true, "/usr/local/bin": true, "/usr/share": true,
	"/var": true, "/var/cache": true, "/var/lib": true, "/var/log": true, "/var/run": true,
	"/var/spool": true, "/var/tmp": true,
}

// ownSuffix ends the directories in which requorum keeps what it knows of a
// member (design.md, "Hosts").
const ownSuffix = ".requorum"

// path makes a path absolute and clean. A relative one starts at the folder of
// the file, which exists on this machine only: where the path is of another
// machine, it is an error.
func (l *loader) path(name string, t text, here bool) string {
	switch {
	case !t.given():
		return ""
	case strings.ContainsFunc(t.string, unicode.IsControl):
		l.errorAt(t.at, "Invalid path", "%s has a control character in it.", name)
		return ""
	case t.string == "~" || strings.HasPrefix(t.string, "~/"):
		l.errorAt(t.at, "Invalid path", "%s starts with \"~\", which no shell expands here. Write the home directory itself.", name)
		return ""
	case filepath.IsAbs(t.string):
		return filepath.Clean(t.string)
	case !here:
		l.errorAt(t.at, "Relative path on another host", "%s is on another host, where the folder of this file does not exist: write an absolute path instead of %q.", name, t.string)
		return ""
	}
	return filepath.Join(l.dir, t.string)
}

// oneSpelling is dir with the links above it resolved, so that a directory has one
// name whichever way it was reached. dir itself may be a link that the user keeps
// his data behind, and stays as it is; what does not exist yet can't be one.
func oneSpelling(dir string) string {
	rest := filepath.Base(dir)
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		if real, err := filepath.EvalSymlinks(up); err == nil {
			return filepath.Join(real, rest)
		}
		if up == filepath.Dir(up) {
			return dir
		}
		rest = filepath.Join(filepath.Base(up), rest)
	}
}

// memberDir is path for a directory that is one member's alone.
func (l *loader) memberDir(name string, t text, here bool) string {
	dir := l.path(name, t, here)
	if here && dir != "" {
		dir = oneSpelling(dir)
	}
	switch {
	case dir == "":
		return ""
	case systemDirs[dir]:
		l.errorAt(t.at, "Not a member's own directory", "%s is %s, which is not the member's alone. A restore moves this directory aside as a whole: take one below it, like %s.", name, dir, filepath.Join(dir, "etcd"))
		return ""
	case here && inside(l.dir, dir):
		l.errorAt(t.at, "Not a member's own directory", "%s is %s, which has this configuration in it. A restore moves this directory aside as a whole: take one below it, like \"data\".", name, dir)
		return ""
	}
	for _, part := range strings.Split(dir, "/") {
		if strings.HasSuffix(part, ownSuffix) {
			l.errorAt(t.at, "Directory of requorum", "%s is in %q; names that end in %s are what requorum itself keeps about a member. Take another.", name, part, ownSuffix)
			return ""
		}
	}
	return dir
}

// inside tells whether path is dir or below it; both are clean and absolute.
func inside(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
