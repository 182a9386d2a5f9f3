package secrets

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// A mark is a secret that is planted: a word that is nowhere else, with characters
// behind it which every encoding writes in its own way.
type mark struct {
	word  string
	where string
	// data is true for what is in the cluster's data itself: it belongs into data
	// directories and snapshots, and nowhere else.
	data bool
}

// odd are the characters that quoting and escaping change.
const odd = `+/&=é"\`

// marks are those of one test.
type marks struct {
	t    *testing.T
	list []mark
}

// word plants a secret of letters and digits.
func (m *marks) word(where string) string {
	// Tests run beside each other, and each sees the others' etcds.
	w := fmt.Sprintf("qZ%02dv%s7Wj%02dbT", len(m.list)+10, strings.TrimPrefix(m.t.Name(), "Test")[:3], len(m.list)+10)
	m.list = append(m.list, mark{word: w, where: where})
	return w
}

// odd plants one that has to be quoted nearly everywhere.
func (m *marks) odd(where string) string { return m.word(where) + odd }

// data plants one among the cluster's own values.
func (m *marks) data(where string) string {
	w := m.word(where)
	m.list[len(m.list)-1].data = true
	return w
}

// forms are the ways in which a word can stand in a text: as it is, which is also how
// URLs, JSON, HTML and shells have it; in hex; and in base64, wherever in the encoded
// text it begins.
func (k mark) forms() []string {
	out := []string{strings.ToLower(k.word), hex.EncodeToString([]byte(k.word))}
	for off := range 3 {
		b := []byte(strings.Repeat("\x00", off) + k.word)
		from, to := (off*8+5)/6, len(b)*8/6
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			out = append(out, strings.ToLower(enc.EncodeToString(b)[from:to]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// find fails the test for each secret that is in text.
func (m *marks) find(what string, text []byte, withData bool) {
	m.t.Helper()
	low := strings.ToLower(string(text))
	for _, k := range m.list {
		if k.data && !withData {
			continue
		}
		for _, form := range k.forms() {
			if i := strings.Index(low, form); i >= 0 {
				m.t.Errorf("%s has the secret that was planted as %s:\n…%s…", what, k.where, text[max(0, i-150):min(len(text), i+150)])
				break
			}
		}
	}
}

// said searches what a requorum printed.
func (m *marks) said(r harness.Result) harness.Result {
	m.t.Helper()
	m.find("requorum "+strings.Join(r.Args, " ")+" (stdout)", []byte(r.Stdout), true)
	m.find("requorum "+strings.Join(r.Args, " ")+" (stderr)", []byte(r.Stderr), true)
	return r
}

// written searches every file below a folder, and the names of files, but what skip
// says; it gives how many files it has read.
func (m *marks) written(root string, skip func(rel string, d fs.DirEntry) bool, isData func(rel string) bool) (files int) {
	m.t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if skip(rel, d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		m.find("the name "+rel, []byte(rel), true)
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		m.find("the file "+rel, b, !isData(rel))
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return files
}

// TestMarksAreFound: what searches for secrets finds each, however it is written.
func TestMarksAreFound(t *testing.T) {
	k := mark{word: "qZ10vXk7Wj10bT"}
	for name, text := range map[string]string{
		"plain": "x" + k.word + "y", "hex": hex.EncodeToString([]byte("ab" + k.word)), "capitals": strings.ToUpper(k.word),
		"basic auth": base64.StdEncoding.EncodeToString([]byte("ops:" + k.word + odd)),
		"base64, 1":  base64.StdEncoding.EncodeToString([]byte("1234" + k.word + "zz")),
		"base64, 2":  base64.URLEncoding.EncodeToString([]byte("12345" + k.word + "?>")),
		"base64, 3":  base64.RawURLEncoding.EncodeToString([]byte("123456" + k.word)),
	} {
		if !slices.ContainsFunc(k.forms(), func(f string) bool { return strings.Contains(strings.ToLower(text), f) }) {
			t.Errorf("%s is not found: %s", name, text)
		}
	}
}
