package explain

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// modules are where a Source's Module lies; requorum's is the repository.
var modules = map[string]string{
	"server": "go.etcd.io/etcd/server/v3", "client": "go.etcd.io/etcd/client/v3", "client/pkg": "go.etcd.io/etcd/client/pkg/v3",
	"api": "go.etcd.io/etcd/api/v3", "pkg": "go.etcd.io/etcd/pkg/v3", "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
	"raft": "go.etcd.io/raft/v3", "bbolt": "go.etcd.io/bbolt",
}

func moduleDirs(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"requorum": filepath.Join("..", "..")}
	for name, path := range modules {
		b, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
		if err != nil {
			t.Fatalf("go list -m %s: %v", path, err)
		}
		if out[name] = strings.TrimSpace(string(b)); out[name] == "" {
			t.Fatalf("%s has no source here", path)
		}
	}
	return out
}

// What is named as a source is there: the file, the function, the words.
func TestSourcesAreThere(t *testing.T) {
	dirs := moduleDirs(t)
	for _, topic := range All() {
		for _, s := range topic.Sources {
			dir, ok := dirs[s.Module]
			if !ok {
				t.Errorf("%s: no module %q", topic.Name, s.Module)
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, s.File))
			if err != nil {
				t.Errorf("%s: %v", topic.Name, err)
				continue
			}
			if s.Func == "" && s.Words == "" {
				t.Errorf("%s: %s: neither a function nor words", topic.Name, s.File)
			}
			if s.Func != "" && !regexp.MustCompile(`(?m)^func (\([^)]*\) )?`+regexp.QuoteMeta(s.Func)+`\(`).Match(b) {
				t.Errorf("%s: %s has no func %s", topic.Name, s.File, s.Func)
			}
			if !strings.Contains(string(b), s.Words) {
				t.Errorf("%s: %s does not say %q", topic.Name, s.File, s.Words)
			}
		}
	}
}

var quoted = regexp.MustCompile(`"([^"]+)"`)

// What is quoted are etcd's own words.
func TestQuotesAreEtcds(t *testing.T) {
	var all strings.Builder
	for name, dir := range moduleDirs(t) {
		if name == "requorum" {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Not etcd's, and shown by it: the kernel's and Go's.
	all.WriteString(`"address already in use" "context deadline exceeded" "no space left on device"`)
	source, n := all.String(), 0
	for _, topic := range All() {
		for _, text := range []string{topic.Why, topic.Invariant, topic.Call} {
			for _, q := range quoted.FindAllStringSubmatch(text, -1) {
				n++
				if !strings.Contains(source, q[1]) {
					t.Errorf("%s: %q is not in etcd's source", topic.Name, q[1])
				}
			}
			if strings.Count(text, `"`)%2 != 0 {
				t.Errorf("%s: a quotation mark alone: %s", topic.Name, text)
			}
		}
	}
	if n < 25 {
		t.Errorf("only %d quotes", n)
	}
}

var call = regexp.MustCompile(`etcdserverpb\.(\w+)/(\w+)(?: \{ ?([^}]*?) ?\})?`)

// The calls are in etcd's protocol, with these fields.
func TestCallsAreEtcds(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(moduleDirs(t)["api"], "etcdserverpb", "rpc.proto"))
	if err != nil {
		t.Fatal(err)
	}
	proto, n := string(b), 0
	part := func(from, to string) string {
		_, rest, _ := strings.Cut(proto, from)
		rest, _, _ = strings.Cut(rest, to)
		return rest
	}
	for _, topic := range All() {
		for _, m := range call.FindAllStringSubmatch(topic.Call, -1) {
			n++
			rpc := regexp.MustCompile(`rpc ` + m[2] + `\((?:stream )?(\w+)\)`).FindStringSubmatch(part("service "+m[1]+" {", "\n}"))
			if rpc == nil {
				t.Errorf("%s: etcd has no %s/%s", topic.Name, m[1], m[2])
				continue
			}
			body := part("message "+rpc[1]+" {", "\n}")
			for _, f := range strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' }) {
				if !regexp.MustCompile(`(?m)^\s+[\w. ]+ ` + f + ` = \d+`).MatchString(body) {
					t.Errorf("%s: %s has no field %s", topic.Name, rpc[1], f)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d calls", n)
	}
}
