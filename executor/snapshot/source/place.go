package source

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/requorum/requorum/planner"
)

// place is a source or a destination, taken apart.
type place struct {
	scheme string   // "", "http", "https" or "s3"
	path   string   // local: absolute, clean
	url    *url.URL // the others
	folder bool     // it was written with "/" at its end
	hidden bool     // shown nowhere
}

// parse takes a source apart. No error of it has the source's text in it, which
// may hold a secret that could not be told apart.
func parse(source string) (place, error) {
	scheme, _, isURL := strings.Cut(source, "://")
	if source == "" {
		return place{}, refuse(planner.CodeSnapshotMissing, nil, "no source is given: name a path, http(s):// or s3://BUCKET/KEY")
	}
	if !isURL {
		abs, err := filepath.Abs(source)
		if err != nil {
			return place{}, asProblem(err, place{path: "the source"})
		}
		return place{path: abs, folder: strings.HasSuffix(source, "/")}, nil
	}
	u, err := url.Parse(source)
	if err != nil {
		return place{}, refuse(planner.CodeSnapshotUnsupported, nil, "the source is no valid URL: write %%XX for characters that a URL can't have")
	}
	p := place{scheme: strings.ToLower(scheme), url: u, folder: strings.HasSuffix(u.Path, "/")}
	switch {
	case p.scheme != "http" && p.scheme != "https" && p.scheme != "s3":
		return p, refuse(planner.CodeSnapshotUnsupported, nil, "no snapshots come from %s://: name a path, http(s):// or s3://BUCKET/KEY", p.scheme)
	case u.Host == "":
		return p, refuse(planner.CodeSnapshotUnsupported, nil, "%s names no %s", p.shown(), map[bool]string{true: "bucket", false: "host"}[p.scheme == "s3"])
	}
	return p, nil
}

// hiddenName stands for a source that came from a sensitive variable.
const hiddenName = "(sensitive)"

// shown is the place as people may see it: no user, password or query.
func (p place) shown() string {
	switch {
	case p.hidden:
		return hiddenName
	case p.url == nil:
		return p.path
	}
	u := *p.url
	u.User, u.RawQuery, u.Fragment, u.RawFragment = nil, "", "", ""
	return u.String()
}

// key names the place's folder in the cache. A hash of the whole would tell a
// guesser of the password whether it is right, so that is left out; a signature
// is, too, for it is another one each time.
func (p place) key() string {
	id := "file\x00" + p.path
	if p.url != nil {
		u := *p.url
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		q := u.Query()
		for name := range q {
			if l := strings.ToLower(name); strings.HasPrefix(l, "x-amz-") || strings.HasPrefix(l, "x-goog-") {
				q.Del(name)
			}
		}
		u.RawQuery, u.Fragment, u.RawFragment = q.Encode(), "", ""
		id = u.String()
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:12])
}

// bucket and object are the two parts of an s3 place.
func (p place) bucket() string { return p.url.Host }
func (p place) object() string { return strings.TrimPrefix(p.url.Path, "/") }

// at is the object of this name in the same bucket, reached the same way.
func (p place) at(object string) place {
	u := *p.url
	u.Path, u.RawPath = "/"+object, ""
	return place{scheme: p.scheme, url: &u, folder: strings.HasSuffix(object, "/"), hidden: p.hidden}
}

// name is what Fetch takes to come to the place again.
func (p place) name() string {
	if p.url == nil {
		return p.path
	}
	return p.url.String()
}

// scrub takes out of an error's text what shown leaves out: net/http and others
// quote the URL that they were given.
func (p place) scrub(text string) string {
	hide := func(secret string) {
		if len(secret) > 1 {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	if p.url != nil {
		hide(p.url.RawQuery)
		if pw, ok := p.url.User.Password(); ok {
			hide(pw)
			hide(url.QueryEscape(pw))
			hide(p.url.User.String())
		}
		for _, values := range p.url.Query() {
			for _, v := range values {
				if len(v) >= 8 && p.scheme != "s3" {
					hide(v)
				}
			}
		}
	}
	if p.hidden {
		if p.url != nil {
			hide(p.url.Host)
			hide(p.url.Hostname())
			hide(p.url.Path)
			hide(path.Base(p.url.Path))
		}
		hide(p.path)
		hide(filepath.Base(p.path))
	}
	return text
}

// sidecars are the ends of files that lie beside snapshots and are none.
var sidecars = []string{".part", ".sha256", ".sha256sum", ".md5", ".sig", ".asc", ".minisig", ".json", ".txt", ".log"}

// isSnapshotName tells whether a file below a prefix may be a snapshot.
func isSnapshotName(name string) bool {
	if name == "" || strings.HasPrefix(name, ".") || strings.Contains(name, ".part-") {
		return false
	}
	for _, end := range sidecars {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	return true
}
