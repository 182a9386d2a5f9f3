package load

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shown is all that is said of a configuration, as text and as JSON.
func shown(t *testing.T, src, vars string, env map[string]string) (Result, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "c.hcl")
	opts := Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	files := map[string]string{path: src}
	if vars != "" {
		files[filepath.Join(dir, "x.vars.hcl")] = vars
		opts.VarFiles = []string{filepath.Join(dir, "x.vars.hcl")}
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := Load(path, opts)
	var b bytes.Buffer
	if err := WriteDiagnostics(&b, r, 0, false); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(DiagnosticsJSON(r.Diags))
	if err != nil {
		t.Fatal(err)
	}
	return r, b.String() + string(j)
}

// TestMistakesBesideSecrets: the common mistakes with quotes, brackets and heredocs are
// told without the secret that is in the line, or was begun above it.
func TestMistakesBesideSecrets(t *testing.T) {
	const mark = "hunter2xyz"
	vars := "variable \"word\" { type = string }\n"
	for name, x := range map[string]struct{ src, vars string }{
		"no quotes":                    {src: one("auth {\nusername = \"root\"\npassword = hunter2xyz\n}\n")},
		"no quotes, with a dash":       {src: one("auth {\nusername = \"root\"\npassword = hunter2xyz-1\n}\n")},
		"no quotes, a call":            {src: one("auth {\nusername = \"root\"\npassword = hunter2xyz(1)\n}\n")},
		"no quotes, not an expression": {src: one("auth {\nusername = \"root\"\npassword = hunter2xyz!!\n}\n")},
		"no quotes, a local":           {src: "locals { db_pw = hunter2xyz }\n" + one()},
		"no quotes, api key":           {src: "locals { apiKey = hunter2xyz }\n" + one()},
		"no quotes, cred":              {src: "locals {\n  cred = hunter2xyz\n}\n" + one()},
		"an inner quote":               {src: one("auth {\nusername = \"root\"\npassword = \"ab\"hunter2xyz\"\n}\n")},
		"an inner quote, two words":    {src: one("auth {\nusername = \"root\"\npassword = \"a\" hunter2xyz \"b\"\n}\n")},
		"single quotes":                {src: one("auth {\nusername = \"root\"\npassword = 'hunter2xyz'\n}\n")},
		"a quote left open":            {src: one("auth {\nusername = \"root\"\npassword = \"hunter2xyz\n}\n")},
		"a colon":                      {src: one("auth {\nusername = \"root\"\npassword: hunter2xyz\n}\n")},
		"a heredoc left open":          {src: one("auth {\nusername = \"root\"\npassword = <<E\nhunter2xyz\n}\n")},
		"a heredoc's template":         {src: one("auth {\nusername = \"root\"\npassword = <<E\n${nosuch}hunter2xyz\n${\nhunter2xyz\nE\n}\n")},
		"a list of secrets":            {src: "locals {\n  tokens = [\n    hunter2xyz,\n    \"b\" \"hunter2xyz\",\n  ]\n}\n" + one()},
		"a nested default":             {src: "variable \"v\" {\n  sensitive = true\n  default = {\n    db = { user = \"a\" \"hunter2xyz\" }\n  }\n}\n" + one()},
		"a nested default, no quotes":  {src: "variable \"v\" {\n  sensitive = true\n  default = {\n    db = { user = hunter2xyz }\n  }\n}\n" + one()},
		"a nested default, odd":        {src: "variable \"v\" {\nsensitive = true\ndefault = {\nx = \"}\"}\ny = hunter2xyz \"\n}\n}\n" + one()},
		"a var file, an inner quote":   {src: vars + one(), vars: "word = \"ab\"hunter2xyz\"\n"},
		"a var file, no quotes":        {src: vars + one(), vars: "word = hunter2xyz\n"},
		"a var file, no name":          {src: vars + one(), vars: "hunter2xyz\n"},
		"a var file, no name, quoted":  {src: vars + one(), vars: "\"hunter2xyz\"\n"},
		"a var file, a heredoc":        {src: vars + one(), vars: "word = <<E\nhunter2xyz==\n"},
		"a var file, a map":            {src: vars + one(), vars: "word = {\n  a = hunter2xyz\n  \"b\" \"hunter2xyz\"\n}\n"},
		"a var file, base64":           {src: vars + one(), vars: "word = {\nhunter2xyz==\n"},
		"a setting's URL":              {src: one("etcd {\nconfig = { cors = \"http://ops:hunter2xyz@h\" }\n}\n")},
		"a setting's URL, a list":      {src: one("etcd {\nconfig = { cors = [\"http://h\", \"http://hunter2xyz@h\"] }\n}\n")},
		"a setting's URL, slash":       {src: one("etcd {\nconfig = { cors = \"http://ops:a/hunter2xyz@h\" }\n}\n")},
		"a setting's URL, token":       {src: one("etcd {\nconfig = { distributed-tracing-address = \"http://h/?access_token=hunter2xyz\" }\n}\n")},
		"a setting's URL, variable":    {src: "variable \"u\" { default = \"hunter2xyz\" }\n" + one("etcd {\nconfig = { cors = \"http://ops:${var.u}@h\" }\n}\n")},
		"a peer's URL":                 {src: clusterBlock(memberBlock("m1", "238", "peer_urls", `["http://ops:hunter2xyz@127.0.0.1:2380"]`))},
		"a peer's URL, slash":          {src: clusterBlock(memberBlock("m1", "238", "peer_urls", `["http://ops:hunter2xyz/x@127.0.0.1:2380"]`))},
		"a peer's URL, listened to":    {src: clusterBlock(memberBlock("m1", "238", "listen_peer_urls", `["http://hunter2xyz@127.0.0.1:2380"]`))},
		"a client's URL, port":         {src: clusterBlock(memberBlock("m1", "238", "client_urls", `["http://ops:hunter2xyz@127.0.0.1:x"]`))},
		"a client's URL, variable":     {src: "variable \"u\" { default = \"ops:hunter2xyz\" }\n" + clusterBlock(memberBlock("m1", "238", "client_urls", `["http://${var.u}@127.0.0.1:2379"]`))},
	} {
		r, said := shown(t, x.src, x.vars, nil)
		if !r.Diags.HasErrors() {
			t.Errorf("%s: no error", name)
		}
		if strings.Contains(said, mark) {
			t.Errorf("%s: the secret is told:\n%s", name, said)
		}
		if !strings.Contains(said, "c.hcl") && !strings.Contains(said, "x.vars.hcl") {
			t.Errorf("%s: where it is is not told:\n%s", name, said)
		}
	}
}

// What is no secret is shown as it stands in the file.
func TestMistakesAreShown(t *testing.T) {
	for src, want := range map[string]string{
		one("polici = \"x1y\"\n"):                                                              `polici = "x1y"`,
		one("auth {\nusername = \"root\"\npassword = var.nosuch\n}\n"):                         "password = var.nosuch",
		one("etcd {\nconfig = { quota-backend-bytes = \"x1y\" }\n}\n"):                         `"x1y"`,
		one("etcd {\nconfig = { cors = \"http://ops:x1y@h\" }\n}\n"):                           "cors has a user, a password or a token in a URL",
		clusterBlock(memberBlock("m1", "238", "peer_urls", `["http://ops:x@127.0.0.1:2380"]`)): "peer_urls has a URL with a user in it",
	} {
		if _, said := shown(t, src, "", nil); !strings.Contains(said, want) {
			t.Errorf("%s is not told:\n%s", want, said)
		}
	}
}
