package systemd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
)

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		`a b  c`:                   {"a", "b", "c"},
		`DAEMON_ARGS= ETCD_NAME=x`: {"DAEMON_ARGS=", "ETCD_NAME=x"},
		`"A=b c" D=e`:              {"A=b c", "D=e"},
		`$'A=b c' d`:               {"A=b c", "d"},
		`A='b "c"'`:                {`A=b "c"`},
		`a\ b`:                     {"a b"},
		``:                         nil,
		`""`:                       {""},
	} {
		if got := split(text); !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", text, got, want)
		}
	}
}

// Debian's unit, as systemctl 252 shows it.
func TestArgvOfDebiansUnit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etcd")
	text := "# comment\n; another\nETCD_NAME=\"m1\"\nETCD_LISTEN_PEER_URLS='http://10.0.0.1:2380'\nDAEMON_ARGS=\"--quota-backend-bytes=1 --log-level debug\"\nLONG=a\\\nb\n\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := properties{
		"Environment":      "DAEMON_ARGS= ETCD_NAME=host ETCD_DATA_DIR=/var/lib/etcd/default GOGC=80",
		"EnvironmentFiles": file + " (ignore_errors=yes)\n/nowhere (ignore_errors=yes)",
		"ExecStart":        "{ path=/usr/bin/etcd ; argv[]=/usr/bin/etcd $DAEMON_ARGS --name=${ETCD_NAME} --cost=$$1 ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }",
	}
	env, err := p.environment()
	if err != nil {
		t.Fatal(err)
	}
	if env["ETCD_NAME"] != "m1" || env["ETCD_LISTEN_PEER_URLS"] != "http://10.0.0.1:2380" || env["ETCD_DATA_DIR"] != "/var/lib/etcd/default" || env["LONG"] != "ab" {
		t.Errorf("%q", env)
	}
	if got := runtimeVariables(env); !slices.Equal(got, []string{"GOGC=80"}) {
		t.Errorf("%q", got)
	}
	want := []string{"/usr/bin/etcd", "--quota-backend-bytes=1", "--log-level", "debug", "--name=m1", "--cost=$1"}
	if got := p.argv(env); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}

	p["EnvironmentFiles"] = "/nowhere (ignore_errors=no)"
	if _, err := p.environment(); err == nil {
		t.Error("a file that has to be there is not missed")
	}
	p["ExecStart"] += "\n{ path=/bin/b ; argv[]=/bin/b ; ignore_errors=no ; }"
	if got := p.argv(env); got != nil {
		t.Errorf("of two commands: %q", got)
	}
}

func TestProgramOf(t *testing.T) {
	for _, c := range []struct{ argv, program, rest []string }{
		{[]string{"/usr/bin/etcd", "--name=a"}, []string{"/usr/bin/etcd"}, []string{"--name=a"}},
		{[]string{"/opt/etcd-v3.5/etcd3"}, []string{"/opt/etcd-v3.5/etcd3"}, nil},
		{[]string{"/usr/local/lib/requorum/requorum-1", "etcd", "--name=a"}, []string{"/usr/local/lib/requorum/requorum-1", "etcd"}, []string{"--name=a"}},
		{[]string{"/usr/local/bin/start-etcd.sh"}, nil, nil},
		{[]string{"/usr/bin/docker", "run", "etcd"}, nil, nil},
		{[]string{"/usr/bin/etcd", "grpc-proxy", "start"}, nil, nil},
		{nil, nil, nil},
	} {
		program, rest := programOf(c.argv)
		if !slices.Equal(program, c.program) || !slices.Equal(rest, c.rest) {
			t.Errorf("%q: %q %q", c.argv, program, rest)
		}
	}
}

// A unit's command line may have secrets in it that came from its variables: of what is
// not understood only the program is shown.
func TestArgumentsAreNotShown(t *testing.T) {
	if got := shownProgram([]string{"/bin/sh", "-c", "etcd --password=hunter2"}); strings.Contains(got, "hunter2") || !strings.Contains(got, "/bin/sh") {
		t.Error(got)
	}
}

func TestActs(t *testing.T) {
	p := properties{"Type": "forking", "PIDFile": "/run/x", "ExecStop": "{ path=/bin/kill ; … }", "ExecStartPre": "", "RemainAfterExit": "no"}
	if got := p.acts(); !slices.Equal(got, []string{"Type", "PIDFile", "ExecStop"}) {
		t.Errorf("%q", got)
	}
	if got := (properties{"Type": "notify", "RemainAfterExit": "yes"}).acts(); !slices.Equal(got, []string{"RemainAfterExit"}) {
		t.Errorf("%q", got)
	}
}

// A unit that never ran is told from one whose data is there, or is the member's.
func TestUnborn(t *testing.T) {
	dir := t.TempDir()
	u := Unit{Layout: host.LayoutAt(dir+".requorum", dir, "")}
	ran := t.TempDir()
	if err := os.Mkdir(ran+"/member", 0o700); err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[string]bool{
		"--data-dir=" + dir: false, "--data-dir=" + dir + "-other": true, "--data-dir=" + ran: false,
		"--data-dir=" + dir + "-other --wal-dir=/elsewhere": false, "--name=x": false,
	} {
		if got := u.unborn(strings.Fields(flags)); got != want {
			t.Errorf("%s: %v", flags, got)
		}
	}
}
