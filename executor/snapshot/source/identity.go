package source

import (
	"bytes"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/requorum/requorum/planner"
)

// IdentityVariable is the environment variable that has age identities, one on a
// line, where no file is named.
const IdentityVariable = "REQUORUM_AGE_IDENTITY"

// identities reads the age identities that may open origin. No error of it
// quotes them.
func identities(path, origin string) ([]age.Identity, error) {
	no := func(err error, format string, args ...any) error {
		return refuse(planner.CodeSnapshotUnreadable, err, "%s is encrypted with age, and "+format, append([]any{origin}, args...)...)
	}
	if path == "" {
		text := os.Getenv(IdentityVariable)
		if strings.TrimSpace(text) == "" {
			return nil, no(nil, "there is no identity to open it with: name its file in snapshot { identity = … }, or put the identity into %s", IdentityVariable)
		}
		ids, err := age.ParseIdentities(strings.NewReader(text))
		if err != nil {
			return nil, no(nil, "%s has no age identity in it: it must be what age-keygen prints, a line that begins with AGE-SECRET-KEY-", IdentityVariable)
		}
		return ids, nil
	}
	f, err := openFile(path)
	if err != nil {
		return nil, no(err, "its identity file can't be read: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, no(err, "its identity file can't be read: %v", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, no(nil, "the identity file %s can be used by everybody on this machine (mode %04o): chmod 600 it, and think about whether somebody has read it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, no(err, "its identity file can't be read: %v", err)
	}
	if layerOf(text) != "" {
		return nil, no(nil, "the identity file %s is encrypted itself: decrypt it (age -d) and put the identity into %s for this command", path, IdentityVariable)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, no(nil, "%s has no age identity in it: it must be a file that age-keygen wrote, with a line that begins with AGE-SECRET-KEY-", path)
	}
	return ids, nil
}

// recipients reads whom to encrypt to.
func recipients(list []string) ([]age.Recipient, error) {
	rs, err := age.ParseRecipients(strings.NewReader(strings.Join(list, "\n")))
	if err != nil {
		return nil, refuse(planner.CodeSnapshotUnsupported, nil, "a recipient is none of age's: give what age-keygen prints, a word that begins with age1")
	}
	return rs, nil
}
