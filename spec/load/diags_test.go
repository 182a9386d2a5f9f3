package load

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memberBlock is a member whose attributes can be replaced and added to.
func memberBlock(name, port string, more ...string) string {
	attrs := map[string]string{
		"peer_urls":   `["http://127.0.0.1:` + port + `0"]`,
		"client_urls": `["http://127.0.0.1:` + port + `9"]`,
		"data_dir":    `"data/` + name + `"`,
	}
	order := []string{"peer_urls", "client_urls", "data_dir"}
	for i := 0; i < len(more); i += 2 {
		if _, known := attrs[more[i]]; !known {
			order = append(order, more[i])
		}
		attrs[more[i]] = more[i+1]
	}
	var b strings.Builder
	b.WriteString("member \"" + name + "\" {\n")
	for _, n := range order {
		if attrs[n] != "" {
			b.WriteString(n + " = " + attrs[n] + "\n")
		}
	}
	return b.String() + "}\n"
}

func clusterBlock(parts ...string) string {
	return "cluster \"c\" {\n" + strings.Join(parts, "") + "}\n"
}

// one is a cluster of one good member and parts, the first of which begins on
// line 7.
func one(parts ...string) string {
	return clusterBlock(append([]string{memberBlock("m1", "238")}, parts...)...)
}

// TestDiagnostics has each kind of diagnostic once: its line and summary, and
// words that its detail must have.
func TestDiagnostics(t *testing.T) {
	m := memberBlock
	tests := []struct {
		name, src string
		want      []string
		detail    string
	}{
		{"unknown attribute", one("polici = 1\n"), []string{"7 Unsupported argument"}, ""},
		{"unknown attribute, close", clusterBlock(m("m1", "238", "lerner", `true`)), []string{"6 Unsupported argument"}, `Did you mean "learner"?`},
		{"unknown block, close", one("polici {}\n"), []string{"7 Unsupported block type"}, `Did you mean "policy"?`},
		{"unknown root block", "hosts \"a\" {}\n" + one(), []string{"1 Unsupported block type"}, `Did you mean "host"?`},
		{"missing attribute", clusterBlock(m("m1", "238", "data_dir", "")), []string{"2 Missing required argument"}, "data_dir"},
		{"null for a required one", clusterBlock(m("m1", "238", "data_dir", "null")), []string{"5 Missing required argument"}, "null"},
		{"wrong type", clusterBlock(m("m1", "238", "peer_urls", `"http://a:1"`)), []string{"3 Wrong type"}, "list of strings"},
		{"two clusters", one() + "cluster \"d\" {\n" + m("m2", "338") + "}\n", []string{"8 Second cluster"}, "folder of its own"},
		{"two snapshots", one("snapshot {}\nsnapshot {}\n"), []string{"8 Duplicate snapshot block"}, ""},
		{"syntax", "cluster \"c\" {\n  id = \n}\n", []string{"2 Invalid expression"}, ""},

		{"duplicate member", clusterBlock(m("m1", "238"), m("m1", "338"), m("m3", "438")), []string{"7 Duplicate member name", "1 warning: Even number of voters"}, "name of its own"},
		{"for_each without name", clusterBlock(strings.Replace(m("m", "238"), "{\n", "{\nfor_each = toset([\"a\", \"b\"])\n", 1)), []string{"2 Duplicate member name"}, "name = each.key"},
		{"for_each of a list", clusterBlock(m("m1", "238", "for_each", `["a"]`)), []string{"6 Wrong for_each"}, "toset"},
		{"member name", clusterBlock(m("m=1", "238", "data_dir", `"x"`)), []string{"2 Invalid member name"}, ""},
		{"empty member name", clusterBlock(m("", "238", "data_dir", `"x"`)), []string{"2 Invalid member name"}, ""},
		{"cluster name", strings.Replace(one(), `"c"`, `"a b"`, 1), []string{"1 Invalid cluster name"}, ""},
		{"no member", clusterBlock(), []string{"1 No member"}, ""},
		{"even voters", clusterBlock(m("m1", "238"), m("m2", "338")), []string{"1 warning: Even number of voters"}, "2 voters tolerate 0 failures"},
		{"no voter", clusterBlock(m("m1", "238", "learner", "true")), []string{"1 No voter"}, ""},
		{"two learners", clusterBlock(m("m1", "238"), m("m2", "338", "learner", "true"), m("m3", "438", "learner", "true")), []string{"17 More than one learner"}, "m2"},

		{"duplicate host", "host \"h\" {}\nhost \"h\" {}\n" + one(), []string{"2 Duplicate host name"}, ""},
		{"unknown host", "host \"node1\" {}\n" + clusterBlock(m("m1", "238", "host", `"nod1"`)), []string{"7 Unknown host"}, `Did you mean "node1"?`},
		{"no hosts at all", clusterBlock(m("m1", "238", "host", `"n1"`)), []string{"6 Unknown host"}, "leave host out"},
		{"service", "host \"h\" {\nservice \"sytemd\" {}\n}\n" + one(), []string{"2 Unknown kind of service"}, `Did you mean "systemd"?`},
		{"unit", "host \"h\" {\nservice \"systemd\" { unit = \"../x\" }\n}\n" + one(), []string{"2 Invalid unit"}, ""},
		{"empty command", "host \"h\" {\nservice \"command\" {\nstart = []\nstop = [\"a\"]\nstatus = [\"b\"]\n}\n}\n" + one(), []string{"3 Empty value"}, "start"},
		{"address with a port", "host \"h\" { address = \"10.0.0.1:22\" }\n" + one(), []string{"1 Invalid address"}, "ssh"},
		{"address as an option", "host \"h\" { address = \"-oProxyCommand=x\" }\n" + one(), []string{"1 Invalid address"}, ""},
		{"ssh port", "host \"h\" {\nssh { port = 70000 }\n}\n" + one(), []string{"2 Number out of range"}, "65535"},

		{"no URL", clusterBlock(m("m1", "238", "peer_urls", "[]")), []string{"3 Empty value"}, ""},
		{"URL with a path", clusterBlock(m("m1", "238", "peer_urls", `["http://127.0.0.1:2380/"]`)), []string{"3 URL with a path"}, ""},
		{"URL without a port", clusterBlock(m("m1", "238", "peer_urls", `["http://127.0.0.1"]`)), []string{"3 URL without a port"}, "2380"},
		{"URL without a scheme", clusterBlock(m("m1", "238", "peer_urls", `["ftp://127.0.0.1:2380"]`)), []string{"3 Invalid URL scheme"}, ""},
		{"URL with a user", clusterBlock(m("m1", "238", "client_urls", `["http://a:hunter2@127.0.0.1:2380"]`)), []string{"4 URL with a user"}, "auth block"},
		{"URL with a query", clusterBlock(m("m1", "238", "client_urls", `["http://127.0.0.1:2379?a=b"]`)), []string{"4 URL with a query"}, ""},
		{"URL port", clusterBlock(m("m1", "238", "client_urls", `["http://127.0.0.1:70000"]`)), []string{"4 Invalid port"}, ""},
		{"URL host", clusterBlock(m("m1", "238", "client_urls", `["http://:2379"]`)), []string{"4 URL without a host"}, ""},
		{"no URL at all", clusterBlock(m("m1", "238", "client_urls", `["http://127.0.0.1:x"]`)), []string{"4 Invalid URL"}, ""},
		{"URL to listen on", clusterBlock(m("m1", "238", "peer_urls", `["http://0.0.0.0:2380"]`)), []string{"3 Address to listen on"}, "listen_peer_urls"},
		{"URL twice", clusterBlock(m("m1", "238", "peer_urls", `["http://127.0.0.1:1", "http://127.0.0.1:1"]`)), []string{"3 Duplicate URL"}, ""},
		{"duplicate peer URL", clusterBlock(m("m1", "238"), m("m2", "338", "peer_urls", `["http://127.0.0.1:2380"]`), m("m3", "438")), []string{"8 Duplicate peer URL"}, "m1"},
		{"duplicate client URL", clusterBlock(m("m1", "238"), m("m2", "338", "client_urls", `["http://127.0.0.1:2389"]`), m("m3", "438")), []string{"9 Duplicate client URL"}, "m1"},
		{"client URL equal to a peer URL", clusterBlock(m("m1", "238", "client_urls", `["http://127.0.0.1:2380"]`)), []string{"4 Client URL equal to a peer URL"}, "2379"},
		{"listeners collide", clusterBlock(m("m1", "238", "listen_client_urls", `["http://0.0.0.0:2380"]`)), []string{"6 Port in use"}, ""},
		{"name to listen on", clusterBlock(m("m1", "238", "peer_urls", `["http://m1.example.com:2380"]`)), []string{"3 Name to listen on"}, "listen_peer_urls"},
		{"name in listen URLs", clusterBlock(m("m1", "238", "listen_client_urls", `["http://m1:2379"]`)), []string{"6 Name to listen on"}, ""},
		{"localhost is bindable", clusterBlock(m("m1", "238", "peer_urls", `["http://localhost:2380"]`)), nil, ""},
		{"mixed schemes", clusterBlock(m("m1", "238"), m("m2", "338", "peer_urls", `["https://127.0.0.1:3380"]`), m("m3", "438"), "tls {\npeer {\ncert = \"a\"\nkey = \"b\"\n}\n}\n"), []string{"8 Mixed schemes"}, "http"},
		{"https without a certificate", clusterBlock(m("m1", "238", "client_urls", `["https://127.0.0.1:2379"]`)), []string{"4 No certificate"}, "tls { client"},

		{"shared data directory", clusterBlock(m("m1", "238"), m("m2", "338", "data_dir", `"./data//m1/"`), m("m3", "438")), []string{"10 Shared data directory"}, "m1"},
		{"shared across host blocks of one machine", "host \"a\" {}\nhost \"b\" { address = \"127.0.0.1\" }\n" + clusterBlock(m("m1", "238", "host", `"a"`, "data_dir", `"/x/y"`), m("m2", "338", "host", `"b"`, "data_dir", `"/x/y"`), m("m3", "438")), []string{"13 Shared data directory"}, "m1"},
		{"nested directories", clusterBlock(m("m1", "238"), m("m2", "338", "data_dir", `"data/m1/sub"`), m("m3", "438")), []string{"10 Overlapping directories"}, "m1"},
		{"wal equal to data", clusterBlock(m("m1", "238", "wal_dir", `"data/m1"`)), []string{"6 Overlapping directories"}, ""},
		{"directory of requorum", clusterBlock(m("m1", "238"), m("m2", "338", "data_dir", `"data/m1.requorum/x"`), m("m3", "438")), []string{"10 Directory of requorum"}, ""},
		{"system directory", clusterBlock(m("m1", "238", "data_dir", `"/var/lib/"`)), []string{"5 Not a member's own directory"}, "/var/lib/etcd"},
		{"the configuration's folder", clusterBlock(m("m1", "238", "data_dir", `"."`)), []string{"5 Not a member's own directory"}, ""},
		{"tilde", clusterBlock(m("m1", "238", "data_dir", `"~/etcd"`)), []string{"5 Invalid path"}, ""},
		{"relative on another host", "host \"h\" {\naddress = \"10.0.0.1\"\n}\n" + clusterBlock(m("m1", "238", "host", `"h"`)), []string{"8 Relative path on another host"}, "absolute"},
		{"shared unit", "host \"h\" {\nservice \"systemd\" { unit = \"etcd\" }\n}\n" + clusterBlock(m("m1", "238", "host", `"h"`), m("m2", "338", "host", `"h"`), m("m3", "438")), []string{"15 Shared service"}, ""},

		{"cluster ID", one("id = \"xyz\"\n"), []string{"7 Invalid cluster ID"}, "16"},
		{"version", one("etcd {\nversion = \"v3.6\"\n}\n"), []string{"8 Invalid version"}, ""},
		{"old version", one("etcd {\nversion = \"3.3\"\n}\n"), []string{"8 Unsupported version"}, "3.4, 3.5"},
		{"version without binary", one("etcd {\nversion = \"3.5\"\n}\n"), []string{"8 warning: No binary for this version"}, ""},
		{"binary by name", one("etcd {\nbinary = \"etcd\"\n}\n"), []string{"8 Not a path"}, "/usr/local/bin/etcd"},
		{"unknown setting", one("etcd {\nconfig = {\nquota_backend_bytes = 1\n}\n}\n"), []string{"9 Unknown etcd setting"}, `Did you mean "quota-backend-bytes"?`},
		{"owned settings", one("etcd {\nconfig = {\ndata-dir = \"x\"\nlisten-metrics-urls = \"\"\npeer-auto-tls = true\ndiscovery-srv = \"x\"\n}\n}\n"), []string{"9 Setting that requorum owns", "10 Setting that requorum owns", "11 Setting that requorum owns", "12 Setting that requorum owns"}, "data_dir in the member block"},
		{"renamed setting", one("etcd {\nconfig = {\nexperimental-corrupt-check-time = \"1m\"\n}\n}\n"), []string{"9 Setting of an older etcd"}, "corrupt-check-time now"},
		{"setting that is a gate", one("etcd {\nconfig = {\nexperimental-initial-corrupt-check = true\n}\n}\n"), []string{"9 Setting of an older etcd"}, "InitialCorruptCheck=true"},
		{"older setting on older etcd", one("etcd {\nversion = \"3.5\"\nbinary = \"/e\"\nconfig = {\nexperimental-corrupt-check-time = \"1m\"\n}\n}\n"), nil, ""},
		{"value of a setting", one("etcd {\nconfig = {\nquota-backend-bytes = \"8GB\"\ncorrupt-check-time = 5\ncors = { a = 1 }\n}\n}\n"), []string{"9 Invalid value for a setting", "10 Invalid value for a setting", "11 Invalid value for a setting"}, "whole number"},
		{"dangerous setting", one("etcd {\nconfig = {\nunsafe-no-fsync = true\n}\n}\n"), []string{"9 warning: Dangerous setting"}, ""},

		{"negative bump", one("snapshot {\nrevision_bump = -1\n}\n"), []string{"8 Number out of range"}, ""},
		{"bump that overflows", one("snapshot {\nrevision_bump = 9223372036854775807\n}\n"), []string{"8 Number out of range"}, "4611686018427387904"},
		{"bump with a fraction", one("snapshot {\nrevision_bump = 1.5\n}\n"), []string{"8 Number out of range"}, "whole"},
		{"bump without compaction", one("snapshot {\nrevision_bump = 1\nmark_compacted = false\n}\n"), []string{"9 Bump without compaction"}, ""},
		{"compaction without bump", one("snapshot {\nrevision_bump = 0\nmark_compacted = true\n}\n"), []string{"9 Compaction without a bump"}, ""},
		{"sha256", one("snapshot {\nsource = \"x\"\nsha256 = \"abc\"\n}\n"), []string{"9 Invalid sha256"}, "64"},
		{"sha256 of nothing", one("snapshot {\nsha256 = \"" + strings.Repeat("a", 64) + "\"\n}\n"), []string{"8 Hash of nothing"}, ""},
		{"scheme of the source", one("snapshot {\nsource = \"s4://bucket/key\"\n}\n"), []string{"8 Unknown kind of source"}, `Did you mean "s3"?`},
		{"source without a file", one("snapshot {\nsource = \"s3://bucket\"\n}\n"), []string{"8 Invalid source"}, "BUCKET/KEY"},
		{"source in a web folder", one("snapshot {\nsource = \"https://host/dir/\"\n}\n"), []string{"8 Invalid source"}, "name the file"},
		{"newest of a prefix", one("snapshot {\nsource = \"s3://bucket/etcd/?endpoint=http://h:1&region=r&path_style=true\"\n}\n"), nil, ""},
		{"setting of an s3 URL", one("snapshot {\nsource = \"s3://bucket/key?sesame=1\"\n}\n"), []string{"8 Invalid source"}, "endpoint, region and path_style"},
		{"credentials in an s3 URL", one("snapshot {\nsource = \"s3://a:b@bucket/key\"\n}\n"), []string{"8 Invalid source"}, "AWS_PROFILE"},
		{"source of no member", one("snapshot {\nsource = \"etcd://m2\"\n}\n"), []string{"8 Unknown member"}, `"m1"`},
		{"a live source", one("snapshot {\nsource = \"etcd://10.0.0.1:2379,[::1]:2379\"\n}\n"), nil, ""},
		{"any live member", one("snapshot {\nsource = \"etcd://\"\n}\n"), nil, ""},
		{"a live source without a port", one("snapshot {\nsource = \"etcd://10.0.0.1:2379,10.0.0.2\"\n}\n"), []string{"8 Invalid source"}, "HOST:PORT"},
		{"a live source's port", one("snapshot {\nsource = \"etcd://10.0.0.1:x\"\n}\n"), []string{"8 Invalid source"}, "HOST:PORT"},
		{"a live source with a path", one("snapshot {\nsource = \"etcd://10.0.0.1:2379/db\"\n}\n"), []string{"8 Invalid source"}, "HOST:PORT"},
		{"a live source with a user", one("snapshot {\nsource = \"etcd://root:pw@10.0.0.1:2379\"\n}\n"), []string{"8 Invalid source"}, "auth block"},
		{"sha256 of a live source", one("snapshot {\nsource = \"etcd://10.0.0.1:2379\"\nsha256 = \"" + strings.Repeat("a", 64) + "\"\n}\n"), []string{"9 Hash of nothing"}, "known hash"},
		{"a directory", one("snapshot {\nsource = \"datadir:///mnt/dead/etcd?wal_dir=/mnt/dead/wal\"\n}\n"), nil, ""},
		{"a member's directory", one("snapshot {\nsource = \"datadir://m1\"\n}\n"), nil, ""},
		{"a directory of nobody", one("snapshot {\nsource = \"datadir://\"\n}\n"), []string{"8 Invalid source"}, "datadir:///DIRECTORY"},
		{"a directory's setting", one("snapshot {\nsource = \"datadir:///mnt?wal=/x\"\n}\n"), []string{"8 Invalid source"}, "wal_dir=/DIRECTORY"},
		{"two survivors", clusterBlock(m("m1", "238"), m("m2", "239"), "snapshot {\nsource = \"datadir://m1\"\n}\nrecover {\nfrom = \"m2\"\n}\n"), []string{"1 warning: Even number of voters", "15 Two survivors"}, "another one"},
		{"source inside data", one("snapshot {\nsource = \"data/m1/member/snap/db\"\n}\n"), []string{"8 Snapshot inside a data directory"}, "datadir://m1"},
		{"recover from nobody", one("recover {\nfrom = \"m2\"\n}\n"), []string{"8 Unknown member"}, `"m1"`},
		{"a member without a key", one("tls {\npeer {\ncert = \"a\"\n}\n}\n"), []string{"2 Half a key pair"}, "without key"},
		{"a member without both", one("tls {\npeer {\nca = \"a\"\n}\n}\n"), []string{"2 Half a key pair"}, "without cert and key"},
		{"half a key pair", one("tls {\nrequorum {\ncert = \"a\"\n}\n}\n"), []string{"8 Half a key pair"}, ""},
		{"snapshot_before", one("policy {\nsnapshot_before = \"allways\"\n}\n"), []string{"8 Unknown value"}, `"always"`},
		{"never is the default", one("policy {\nsnapshot_before = \"never\"\n}\n"), nil, ""},
		{"consent", one("policy {\nprevent = [\"dataloss\", \"host-destroyed:a\"]\n}\n"), []string{"8 Unknown consent", "8 Unknown consent"}, `"data-loss"`},
		{"tolerance", one("policy {\nmin_fault_tolerance = 1\n}\n"), []string{"8 Tolerance out of reach"}, "1 voter"},
		{"negative tolerance", one("policy {\nmin_fault_tolerance = -1\n}\n"), []string{"8 Number out of range"}, ""},

		{"no value", "variable \"x\" {}\n" + one(), []string{"1 Variable without a value"}, "REQUORUM_VAR_x"},
		{"variable twice", "variable \"x\" { default = 1 }\nvariable \"x\" { default = 1 }\n" + one(), []string{"2 Duplicate variable"}, ""},
		{"default of another type", "variable \"x\" {\ntype = number\ndefault = \"a\"\n}\n" + one(), []string{"3 Invalid value for variable"}, "number"},
		{"validation", "variable \"x\" {\ndefault = 3\nvalidation {\ncondition = var.x > 3\nerror_message = \"Too few: ${var.x}.\"\n}\n}\n" + one(), []string{"1 Invalid value for variable"}, "Too few: 3."},
		{"unknown variable", "variable \"backup\" { default = \"x\" }\n" + one("id = var.bakup\n"), []string{"8 Unknown variable"}, `Did you mean "backup"?`},
		{"unknown local", "locals { a = 1 }\n" + one("id = local.b\n"), []string{"8 Unknown local value"}, `"a"`},
		{"bare word", one("id = abc\n"), []string{"7 Unknown name"}, `"abc"`},
		{"each outside", one("id = each.key\n"), []string{"7 No each here"}, "for_each"},
		{"circle", "locals {\na = local.b\nb = local.c\nc = local.a\n}\n" + one(), []string{"2 Local values in a circle"}, "a → b → c → a"},
		{"unset environment", one("id = env(\"NOPE\")\n"), []string{"7 Error in function call"}, "NOPE is not set"},
		{"missing file", one("id = file(\"nope\")\n"), []string{"7 Error in function call"}, "no such file"},
		{"unknown function", one("id = uper(\"x\")\n"), []string{"7 Call to unknown function"}, "upper"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"a.hcl": tt.src})
			r := Load(filepath.Join(dir, "a.hcl"), Options{})
			sorted := cmp.Transformer("set", func(s []string) map[string]bool {
				m := map[string]bool{}
				for _, e := range s {
					m[e] = true
				}
				return m
			})
			if got := errorLines(r.Diags); !cmp.Equal(got, tt.want, sorted) {
				t.Fatalf("got %q, want %q in\n%s\n%s", got, tt.want, tt.src, rendered(t, r))
			}
			if (r.Cluster == nil) != r.Diags.HasErrors() {
				t.Errorf("cluster %v with diagnostics %v", r.Cluster, r.Diags)
			}
			if out := rendered(t, r); len(tt.want) > 0 && !strings.Contains(strings.Join(strings.Fields(out), " "), tt.detail) {
				t.Errorf("no %q in\n%s", tt.detail, out)
			}
		})
	}
}

// TestAllAtOnce has ten mistakes of all stages in one file.
func TestAllAtOnce(t *testing.T) {
	src := `variable "v" { type = string }
locals { a = local.nope }
host "h" {
  address = "10.0.0.1:22"
  service "sysv" {}
}
cluster "c" {
  id     = "no hex"
  member "m1" {
    host        = "g"
    peer_urls   = ["http://10.0.0.1", var.v, local.a]
    client_urls = ["http://10.0.0.1:2379/x"]
    data_dir    = "/"
  }
  member "m1" {
    peer_urls   = ["http://10.0.0.2:2380"]
    client_urls = ["http://10.0.0.2:2380"]
    data_dir    = "/data/m1"
    lerner      = true
  }
  snapshot { revision_bump = -5 }
  policy { prevent = ["everything"] }
}
`
	want := []string{
		"1 Variable without a value", "2 Unknown local value", "4 Invalid address", "5 Unknown kind of service",
		"8 Invalid cluster ID", "10 Unknown host", "12 URL with a path", "15 Duplicate member name",
		"19 Unsupported argument", "21 Number out of range", "22 Unknown consent",
	}
	dir := folder(t, map[string]string{"a.hcl": src})
	got := errorLines(Load(dir, Options{}).Diags)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHugeInput has inputs whose nesting would overflow the stack of a parser
// or evaluator that recurses with it.
func TestHugeInput(t *testing.T) {
	many := func(s string) string { return strings.Repeat(s, (maxFileSize-1000)/len(s)) }
	for name, src := range map[string]string{
		"brackets":     "id = " + many("["),
		"parentheses":  "id = " + many("(\n"),
		"unary":        "id = (" + many("!\n") + "true)",
		"minus":        "id = " + many("-") + "1",
		"conditionals": "id = (" + many("true?\n1:\n") + "1)",
		"sum":          "id = 1" + many("-1"), // below zero: no ID
		"template":     "id = \"" + many("%{if true}") + "\"",
		"interpolated": "id = " + many("\"${"),
		"attributes":   "id = local" + many(".a"),
		"indexes":      "id = local" + many("[0]"),
		"too large":    many("# comment\n") + many("# comment\n"),
	} {
		for _, file := range []string{"a.hcl", "a.hcl.json"} {
			dir := folder(t, map[string]string{file: one(src + "\n")})
			if r := Load(filepath.Join(dir, file), Options{}); !r.Diags.HasErrors() {
				t.Errorf("%s in %s loads", name, file)
			}
		}
	}
}
