package load

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrecedence(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.hcl":       "variable \"d\" { default = \"/from/default\" }\n" + clusterBlock(memberBlock("m1", "238", "data_dir", "var.d")),
		"1.vars.hcl":  `d = "/from/file1"`,
		"2.vars.json": `{"d": "/from/file2"}`,
	})
	file1, file2 := filepath.Join(dir, "1.vars.hcl"), filepath.Join(dir, "2.vars.json")
	env := environment("REQUORUM_VAR_d", "/from/env")
	for _, tt := range []struct {
		opts Options
		want string
	}{
		{Options{}, "/from/default"},
		{Options{Env: env}, "/from/env"},
		{Options{Env: env, VarFiles: []string{file1}}, "/from/file1"},
		{Options{Env: env, VarFiles: []string{file1, file2}}, "/from/file2"},
		{Options{Env: env, VarFiles: []string{file2, file1}}, "/from/file1"},
		{Options{Env: env, VarFiles: []string{file1}, Vars: []string{"d=/from/var", "d=/from/=var"}}, "/from/=var"},
	} {
		if got := mustLoad(t, dir, tt.opts).Members[0].DataDir; got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.opts, got, tt.want)
		}
	}
}

func TestGivenValues(t *testing.T) {
	declaration := `variable "hosts" {
  type = map(object({ ip = string, port = optional(number, 2380) }))
}
variable "learner" { type = bool }
`
	src := declaration + clusterBlock(memberBlock("m", "238", "for_each", "var.hosts", "name", "each.key", "learner", "var.learner",
		"peer_urls", `["http://${each.value.ip}:${each.value.port}"]`, "client_urls", `["http://${each.value.ip}:2379"]`, "data_dir", `"data/${each.key}"`))
	dir := folder(t, map[string]string{"a.hcl": src, "bad.vars.hcl": "hots = {}\nlearner = [1]\nhosts = {}\n"})
	c := mustLoad(t, dir, Options{Vars: []string{`hosts={a={ip="10.0.0.1"}}`, "learner=false"}})
	if got := c.Members[0].PeerURLs[0]; got != "http://10.0.0.1:2380" {
		t.Errorf("got %s", got)
	}
	for _, tt := range []struct {
		opts Options
		want []string
	}{
		{Options{Vars: []string{`hosts={a={ip="10.0.0.1"}}`, "learner=perhaps"}}, []string{"4 Invalid value for variable"}},
		{Options{Vars: []string{`hosts={a=`, "learner=false"}}, []string{"1 Invalid value for variable"}},
		{Options{Vars: []string{`hots={}`, "learner"}}, []string{"0 Invalid --var", "0 Unknown variable", "1 Variable without a value", "4 Variable without a value"}},
		{Options{VarFiles: []string{filepath.Join(dir, "bad.vars.hcl"), filepath.Join(dir, "none")}},
			[]string{"0 File not readable", "1 Unknown variable", "2 Invalid value for variable"}},
	} {
		got := errorLines(Load(filepath.Join(dir, "a.hcl"), tt.opts).Diags)
		var errors []string
		for _, g := range got {
			if !strings.Contains(g, "No member") {
				errors = append(errors, g)
			}
		}
		if !cmp.Equal(errors, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.opts, errors, tt.want)
		}
	}
}

func TestFunctions(t *testing.T) {
	for expr, want := range map[string]string{
		`env("HOME_DIR")`:                           "/home/x",
		`env("NOPE", "/default/x")`:                 "/default/x",
		`"/f/${trimspace(file("name"))}"`:           "/f/etcd1",
		`try(local.m.nope, "/tried/x")`:             "/tried/x",
		`can(local.m.nope) ? "/a/b" : "/c/d"`:       "/c/d",
		`format("/%s/%03d", "a", 7)`:                "/a/007",
		`join("", ["/", replace("a-b", "-", "/")])`: "/a/b",
		`"/x/${element(sort(keys(local.m)), 1)}"`:   "/x/b",
		`"/x/${jsondecode("{\"k\":\"v\"}").k}"`:     "/x/v",
	} {
		dir := folder(t, map[string]string{"name": "etcd1\n",
			"a.hcl": "locals { m = { b = 1, a = 2 } }\n" + clusterBlock(memberBlock("m1", "238", "data_dir", expr))})
		r := Load(dir, Options{Env: environment("HOME_DIR", "/home/x")})
		if r.Diags.HasErrors() {
			t.Errorf("%s: %s", expr, rendered(t, r))
		} else if got := r.Cluster.Members[0].DataDir; got != want {
			t.Errorf("%s is %s, want %s", expr, got, want)
		}
	}
}

// TestSensitive plants secrets wherever one can be and looks for them in all
// that is shown.
func TestSensitive(t *testing.T) {
	const secret = "Hunter2-s3cr3t"
	variable := "variable \"s\" {\n type = string\n sensitive = true\n}\nlocals { t = \"x-${upper(var.s)}\" }\n"
	given := Options{Vars: []string{"s=" + secret}}
	tests := []struct {
		name, src string
		opts      Options
		errors    bool
	}{
		{"where it belongs", variable + one("auth {\nusername = \"root\"\npassword = var.s\n}\nsnapshot { source = \"https://h/${var.s}\" }\n"), given, false},
		{"in a directory", variable + clusterBlock(memberBlock("m1", "238", "data_dir", `"/d/${var.s}"`)), given, true},
		{"in a name", variable + clusterBlock(memberBlock("m1", "238", "name", "local.t")), given, true},
		{"in a URL", variable + clusterBlock(memberBlock("m1", "238", "peer_urls", "[var.s]")), given, true},
		{"in settings", variable + one("etcd {\nconfig = { auth-token = var.s }\n}\n"), given, true},
		{"in for_each", variable + clusterBlock(memberBlock("m1", "238", "for_each", "toset([local.t])")), given, true},
		{"in keys of for_each", variable + clusterBlock(memberBlock("m1", "238", "for_each", "{ (var.s) = 1 }")), given, true},
		{"in a function's error", variable + one("id = parseint(local.t, 10)\n"), given, true},
		{"in file", variable + one("id = file(var.s)\n"), given, true},
		{"in env", variable + one("id = env(var.s)\n"), given, true},
		{"in try", variable + one("id = try(parseint(var.s, 10))\n"), given, true},
		{"in jsondecode", variable + one("auth {\nusername = \"u\"\npassword = jsondecode(var.s)\n}\n"), given, true},
		{"in a source's scheme", variable + one("snapshot { source = \"${var.s}://x\" }\n"), given, true},
		{"in a source without file", variable + one("snapshot { source = \"https://${var.s}\" }\n"), given, true},
		{"in etcd://", variable + one("snapshot { source = \"etcd://${var.s}\" }\n"), given, true},
		{"in a validation", "variable \"s\" {\nsensitive = true\nvalidation {\ncondition = length(var.s) < 3\nerror_message = \"Not ${var.s}.\"\n}\n}\n" + one(), given, true},
		{"in a default", "variable \"s\" {\nsensitive = true\ntype = number\ndefault = \"" + secret + "\"\n}\n" + one(), Options{}, true},
		{"of the wrong type", strings.Replace(variable, "= string", "= list(number)", 1) + one(), given, true},
		{"in the environment", strings.Replace(variable, "= string", "= number", 1) + one(), Options{Env: environment("REQUORUM_VAR_s", secret)}, true},
		{"password written out", one("auth {\nusername = 7 + \"a\"\npassword = \"" + secret + "\"\nx = 1\n}\n"), Options{}, true},
		{"source written out", one("snapshot {\nsource = \"https://u:" + secret + "@h\"\n}\n"), Options{}, true},
		{"source that is no URL", one("snapshot {\nsource = \"https://u:" + secret + "%zz@h/x.db\"\n}\n"), Options{}, true},
		{"source with a wrong port", one("snapshot {\nsource = \"s3://u:" + secret + "@h:port/x\"\n}\n"), Options{}, true},
		{"etcd source with a user", one("snapshot {\nsource = \"etcd://u:" + secret + "@h:1,h:2\"\n}\n"), Options{}, true},
		{"presigned source", one("snapshot {\nsource = \"https://h?sig=" + secret + "\"\n}\n"), Options{}, true},
		{"an unknown variable", one(), Options{Vars: []string{"p", secret}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"a.hcl": tt.src})
			r := Load(dir, tt.opts)
			if r.Diags.HasErrors() != tt.errors {
				t.Errorf("errors: %v", r.Diags)
			}
			out := rendered(t, r)
			for _, s := range []string{secret, strings.ToUpper(secret), strings.ToLower(secret)} {
				if strings.Contains(out, s) {
					t.Errorf("%s is in\n%s", s, out)
				}
			}
			if !tt.errors && (r.Cluster.Auth.Password.Reveal() != secret || r.Cluster.Snapshot.Source != "https://h/"+secret || !r.Cluster.Snapshot.Sensitive) {
				t.Errorf("got %+v %+v", r.Cluster.Auth, r.Cluster.Snapshot)
			}
		})
	}
}

func TestSensitiveVarFile(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.hcl":      "variable \"s\" {\nsensitive = true\ntype = list(number)\n}\n" + one(),
		"x.vars.hcl": `s = "line\u0020of-secret"`,
		"y.vars.hcl": `typo = "line-of-secret"`,
	})
	r := Load(dir, Options{VarFiles: []string{filepath.Join(dir, "x.vars.hcl"), filepath.Join(dir, "y.vars.hcl")}})
	if got := errorLines(r.Diags); !cmp.Equal(got, []string{"1 Invalid value for variable", "1 Unknown variable"}) {
		t.Errorf("got %q", got)
	}
	if out := rendered(t, r); strings.Contains(out, "of-secret") {
		t.Error(out)
	}
}

func TestAccess(t *testing.T) {
	dir := folder(t, map[string]string{"a.hcl": `
host "none" {}
host "loop" { address = "127.8.8.8" }
host "six" { address = "::1" }
host "far" { address = "etcd.example.com" }
host "alias" {
  ssh { command = ["ssh", "-F", "x"] }
}
host "near" {
  address = "127.0.0.1"
  ssh { port = 2222 }
}
` + minimal})
	got := map[string]string{}
	for _, h := range mustLoad(t, dir, Options{}).Hosts {
		got[h.Name] = string(h.Access) + " " + h.Address
	}
	want := map[string]string{"none": "local ", "loop": "local 127.8.8.8", "six": "local ::1", "far": "manual etcd.example.com", "alias": "ssh alias", "near": "ssh 127.0.0.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal), "")
	f.Add([]byte(full), "backup=x")
	f.Add([]byte(fullJSON), "password=x")
	f.Add([]byte(one("id = try(each.x, local[var.y], [for x in {}: x...])\n")), "=")
	f.Fuzz(func(t *testing.T, src []byte, v string) {
		dir := folder(t, map[string]string{"a.hcl": string(src), "b.hcl.json": string(src)})
		for _, name := range []string{"a.hcl", "b.hcl.json"} {
			r := Load(filepath.Join(dir, name), Options{Vars: []string{v}})
			if (r.Cluster == nil) != r.Diags.HasErrors() {
				t.Fatalf("cluster %v with %v", r.Cluster, r.Diags)
			}
			rendered(t, r)
			once, diags := Format(src, name)
			if twice, _ := Format(once, name); !diags.HasErrors() && string(twice) != string(once) {
				t.Fatalf("Format is not idempotent: %q %q", once, twice)
			}
		}
	})
}
