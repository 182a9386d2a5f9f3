package load

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/requorum/requorum/spec"
)

var snapshotSchema = schema("source sha256 skip_hash_check revision_bump mark_compacted identity")

// maxRevisionBump keeps bump + revision inside an int64: a store would have to
// be at revision 2^62 already.
const maxRevisionBump = 1 << 62

var (
	sourceSchemes = []string{"http", "https", "s3", "etcd", "datadir"}
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (l *loader) snapshot(b block, members []member) *spec.Snapshot {
	s := &spec.Snapshot{Pos: position(b.rng), SkipHashCheck: b.flag("skip_hash_check", false)}
	l.source(b, s, members)
	if t := b.text("sha256"); t.given() {
		s.SHA256 = strings.ToLower(t.string)
		l.checkSHA256(t, s, b.has("source"))
	}
	s.Identity = l.path("identity", b.text("identity"), true)
	if n, ok := b.integer("revision_bump", 0, maxRevisionBump); ok {
		s.RevisionBump = &n
	}
	bumps := s.RevisionBump == nil || *s.RevisionBump > 0 // nil is the planner's own bump
	s.MarkCompacted = b.flag("mark_compacted", bumps)
	switch at := b.at("mark_compacted"); {
	case bumps && !s.MarkCompacted && b.has("mark_compacted"):
		l.errorAt(at, "Bump without compaction", "A revision bump needs mark_compacted = true: else the watches of clients would wait for revisions that never come. For neither, write revision_bump = 0.")
	case !bumps && s.MarkCompacted:
		l.errorAt(at, "Compaction without a bump", "mark_compacted = true needs a revision_bump above 0, to have a revision that no client has seen.")
	}
	return s
}

func (l *loader) checkSHA256(t text, s *spec.Snapshot, hasSource bool) {
	scheme, _, _ := strings.Cut(s.Source, "://")
	switch {
	case !sha256Pattern.MatchString(s.SHA256):
		l.errorAt(t.at, "Invalid sha256", "sha256 must be 64 hexadecimal digits, as sha256sum prints them; this has %d characters.", len(t.string))
	case !hasSource:
		l.errorAt(t.at, "Hash of nothing", "sha256 is the hash of snapshot.source, which is not given.")
	case !s.Sensitive && (scheme == "etcd" || scheme == "datadir"):
		l.errorAt(t.at, "Hash of nothing", "A snapshot taken now from %s can't have a known hash. Leave sha256 out.", s.Source)
	}
}

// source reads snapshot.source, which may come from a sensitive variable.
func (l *loader) source(b block, s *spec.Snapshot, members []member) {
	v, marked, ok := b.guarded("source", cty.String)
	if !ok {
		if at := b.at("source"); b.has("source") && strings.ContainsAny(l.written(at.rng), "?@") {
			l.hideSource(at.expr) // it may have become one
		}
		return
	}
	t := text{v.AsString(), b.at("source")}
	s.SourcePos = position(t.at.rng)
	scheme, rest, isURL := strings.Cut(t.string, "://")
	s.Sensitive = marked || isURL && carriesSecret(t.string)
	if s.Sensitive {
		// A URL that is written out needs no variable to be a secret.
		l.hide(v)
		l.hideSource(t.at.expr)
		l.ephemeral("snapshot.source", t.at.expr)
	}
	shown := t.string
	if s.Sensitive {
		shown = "The source"
	}
	switch {
	case t.string == "":
		l.errorAt(t.at, "Empty value", "source must not be empty. Without a snapshot, leave it out.")
	case !isURL:
		s.Source = l.localSource(t, members)
	default:
		s.Source = t.string
		l.checkSourceURL(t, shown, scheme, rest, members)
	}
}

// carriesSecret tells whether a URL has a password or a signature in it. What an
// s3 URL may have behind its "?" says where the server is. What can't be taken apart
// may have one anywhere; etcd://HOST:PORT,HOST:PORT can't, and has no place for one but
// before an @.
func carriesSecret(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return !strings.HasPrefix(s, "etcd://") || strings.Contains(s, "@")
	}
	return u.User != nil || u.RawQuery != "" && u.Scheme != "s3" && u.Scheme != "datadir" || u.Scheme == "s3" && unknownS3Setting(u) != ""
}

// s3Settings are what executor/snapshot/source takes.
var s3Settings = []string{"endpoint", "region", "path_style"}

func unknownS3Setting(u *url.URL) string {
	for name := range u.Query() {
		if !slices.Contains(s3Settings, name) {
			return name
		}
	}
	return ""
}

func (l *loader) localSource(t text, members []member) string {
	path := l.path("source", t, true)
	for _, m := range members {
		if path == "" || !m.here() {
			continue
		}
		for _, dir := range []string{m.DataDir, m.WALDir} {
			if dir != "" && inside(path, dir) {
				l.errorAt(t.at, "Snapshot inside a data directory", "The source is in a directory of %s, which a restore moves aside. Write source = \"datadir://%s\" for this data directory, or copy the file elsewhere.", m.Name, m.Name)
				return path
			}
		}
	}
	return path
}

func (l *loader) checkSourceURL(t text, shown, scheme, rest string, members []member) {
	switch scheme {
	case "etcd", "datadir":
		l.checkSourceMember(t, shown, scheme, rest, members)
	case "http", "https", "s3":
		u, err := url.Parse(t.string)
		switch {
		case err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" && (scheme != "s3" || u.Path == ""):
			l.errorAt(t.at, "Invalid source", "%s is not the URL of a file: write %s://%s.", shown, scheme, map[bool]string{true: "BUCKET/KEY", false: "HOST/PATH"}[scheme == "s3"])
		case scheme != "s3" && strings.HasSuffix(u.Path, "/"):
			l.errorAt(t.at, "Invalid source", "%s names a folder, and a web server has no list to take the newest file from: name the file.", shown)
		case scheme == "s3" && u.User != nil:
			l.errorAt(t.at, "Invalid source", "Credentials have no place in an s3 URL. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role.")
		case scheme == "s3" && unknownS3Setting(u) != "":
			l.errorAt(t.at, "Invalid source", "An s3 URL has no such setting after its \"?\". endpoint, region and path_style are known.")
		}
	case "file":
		l.errorAt(t.at, "Unknown kind of source", "A file on this machine is given by its path alone, without file://.")
	default:
		if strings.EqualFold(shown, "the source") {
			scheme = "this" // part of a secret
		}
		l.errorAt(t.at, "Unknown kind of source", "There is no source %s://.%s", scheme, didYouMean(scheme, sourceSchemes))
	}
}

// checkSourceMember holds etcd://, etcd://NAME, etcd://HOST:PORT,…, datadir://NAME
// and datadir:///DIRECTORY.
func (l *loader) checkSourceMember(t text, shown, scheme, rest string, members []member) {
	switch {
	case scheme == "etcd" && strings.Contains(rest, "@"):
		l.errorAt(t.at, "Invalid source", "A user and a password have no place in an etcd:// source: the auth block's are used.")
	case scheme == "etcd" && rest == "":
	case scheme == "etcd" && strings.Contains(rest, ":"):
		if bad := badAddress(rest); bad != nil {
			l.errorAt(t.at, "Invalid source", "%s has to be etcd://HOST:PORT, or several of one cluster with commas between them: %v.", shown, bad)
		}
	case scheme == "datadir" && filepath.IsAbs(rest):
		l.checkSourceDir(t, rest, members)
	case rest == "":
		l.errorAt(t.at, "Invalid source", "%s names no member: write %s://NAME, or %s:///DIRECTORY.", shown, scheme, scheme)
	case !hasMember(members, rest) && !l.membersIncomplete:
		hint := ""
		if shown == t.string {
			hint = didYouMean(rest, memberNames(members))
		}
		l.errorAt(t.at, "Unknown member", "%s names no member of this cluster.%s", shown, hint)
	}
}

// badAddress says what is wrong with a list of HOST:PORT; nil for nothing.
func badAddress(list string) error {
	for _, a := range strings.Split(list, ",") {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			return errors.New("it is not HOST:PORT")
		}
		if n, err := strconv.Atoi(port); host == "" || err != nil || n < 1 || n > 65535 || strings.ContainsAny(host, "/? ") {
			return errors.New("host or port is none")
		}
	}
	return nil
}

// checkSourceDir holds a directory that is nobody's place: a member's own is named
// by the member, and is a survivor then.
func (l *loader) checkSourceDir(t text, rest string, members []member) {
	s := &spec.Snapshot{Source: t.string}
	dir, wal, err := s.DataDir()
	if err != nil {
		l.errorAt(t.at, "Invalid source", "%v.", err)
		return
	}
	for _, m := range members {
		if !m.here() {
			continue
		}
		for _, own := range []string{m.DataDir, m.WALDir} {
			for _, given := range []string{dir, wal} {
				if own != "" && given != "" && (given == own || inside(given, own)) {
					l.errorAt(t.at, "A member's own directory", "%s is in a directory of %s. Write source = \"datadir://%s\": it is a survivor then, and its place is fenced first.", given, m.Name, m.Name)
					return
				}
			}
		}
	}
}
