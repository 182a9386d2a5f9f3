package process

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// What is told of a command line has no secret in it, and all that an etcd is known to have.
func TestTellArgs(t *testing.T) {
	for _, x := range []struct{ args, want []string }{
		{[]string{"-c", "PW=x etcd", "--name", "m1", "--discovery-password=x", "-discovery-user", "ops:x", "--discovery=https://d/x"},
			[]string{"-c", "(sensitive)", "--name", "m1", "--discovery-password=(sensitive)", "-discovery-user", "(sensitive)", "--discovery=(sensitive)"}},
		{[]string{"--auth-token", "jwt,sign-method=ES256", "--root-password", "x", "--cors=http://a:x@h,http://h", "--data-dir=/a@b", "--pre-vote", "--initial-cluster=m1=http://h:1"},
			[]string{"--auth-token", "(sensitive)", "--root-password", "(sensitive)", "--cors=http://(sensitive)@h,http://h", "--data-dir=/a@b", "--pre-vote", "--initial-cluster=m1=http://h:1"}},
		// No etcd is known to have these: what they are given may be anything.
		{[]string{"--pw=x", "--login", "x", "-k", "x", "--name=m1", "--flag", "--name", "m1"},
			[]string{"--pw=(sensitive)", "--login", "(sensitive)", "-k", "(sensitive)", "--name=m1", "--flag", "--name", "m1"}},
		{[]string{"--cors=http://a:p/w,x@h"}, []string{"--cors=http://(sensitive)@h"}},
	} {
		if got := tellArgs(x.args); !slices.Equal(got, x.want) {
			t.Errorf("%q\nwant %q", got, x.want)
		}
	}
}

// Settings are what they are on the host; told, those with a secret are named, and all
// others are there.
func TestTell(t *testing.T) {
	raw, err := SettingsFrom([]string{
		"--name=m1", "--discovery-password=x", "--cors=http://a:x@h", "--force-new-cluster", "--advertise-client-urls=http://u:x@h:1,http://h:2", "--experimental-foo=a=b c", "--log-package-levels=a=WARNING", "--my-secret=x", "-c", "PW=x etcd",
	}, []string{"ETCD_DISCOVERY_USER=x"}, "/")
	if err != nil || raw["cors"] != "http://a:x@h" || raw["my-secret"] != "x" {
		t.Fatalf("%v, %v", raw, err)
	}
	got, hidden := Tell(raw)
	if !slices.Equal(hidden, []string{"c", "cors", "my-secret"}) {
		t.Errorf("hidden: %v", hidden)
	}
	for name, want := range map[string]string{
		"cors": "http://(sensitive)@h", "name": "m1", "my-secret": "(sensitive)", "force-new-cluster": "true", "experimental-foo": "a=b c",
		"log-package-levels": "a=WARNING", "c": "(sensitive)",
		"advertise-client-urls": "http://h:1,http://h:2",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "discovery") {
			t.Errorf("%s is told", name)
		}
	}
	flags := TellFlags([]string{"--cors=http://a:x@h", "--name=m1", "--discovery-token=x", "--my-secret=x"})
	if want := []string{"--cors=http://(sensitive)@h", "--name=m1", "--my-secret=(sensitive)"}; !slices.Equal(flags, want) || !slices.Equal(TellFlags(flags), want) {
		t.Errorf("%q", flags)
	}
	if got := planner.UntoldFlags(flags); !slices.Equal(got, []string{"cors", "my-secret"}) {
		t.Errorf("%q", got)
	}
}

// Nobody is started with what stands in a plan for a secret, and what was written down
// by an earlier requorum is not told.
func TestUntoldIsNoSetting(t *testing.T) {
	l := host.LayoutOf(t.TempDir()+"/m1", "")
	cfg := Config{Name: "m1", DataDir: l.DataDir, ClusterID: "1", MemberID: "2", Args: []string{"--data-dir=" + l.DataDir, "--cors=http://(sensitive)@h"}}
	if err := cfg.check(l); err == nil || !strings.Contains(err.Error(), "--cors has a secret in it") {
		t.Errorf("%v", err)
	}
	cfg.Args[1] = "--cors=http://a:x9x@h"
	cfg.Carried = cfg.Args[1:]
	if err := os.MkdirAll(l.Base(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(l.Service(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(l.SupervisorState(), state{State: planner.ServiceFailed, LastError: "dial http://a:x9x@h: no"}); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(Status(l))
	if err != nil || strings.Contains(string(b), "x9x") || !strings.Contains(string(b), "--cors=http://(sensitive)@h") {
		t.Errorf("%s %v", b, err)
	}
}

func TestTellUnit(t *testing.T) {
	text := "# Written by requorum\n[Service]\nEnvironment=GOGC=80\nExecStart=/usr/bin/etcd \\\n    --name=m1 \\\n    --cors=http://a:x@h \\\n    \"--my-password=x \\\" y\" \\\n    --root-token=x\n"
	want := "# Written by requorum\n[Service]\nEnvironment=GOGC=80\nExecStart=/usr/bin/etcd \\\n    --name=m1 \\\n    --cors=http://(sensitive)@h \\\n    \"--my-password=(sensitive)\" \\\n    --root-token=(sensitive)\n"
	if got := TellUnit(text); got != want || TellUnit(want) != want {
		t.Errorf("%s", got)
	}
}

// etcd repeats in its log what it was given.
func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		`parse "http://ops:x@h:1": invalid port`:                  `parse "http://(sensitive)@h:1": invalid port`,
		`dial http://ops:p/x@h:1`:                                 `dial http://(sensitive)@h:1`,
		`bad flag --root-password=x, end`:                         `bad flag --root-password=(sensitive), end`,
		`bad flag -root-password x, end`:                          `bad flag -root-password (sensitive), end`,
		`{"discovery-password":"x y","name":"m1"}`:                `{"discovery-password":(sensitive),"name":"m1"}`,
		`discovery-config: {Password: x, User: ops}`:              `discovery-config: {Password: (sensitive), User: ops}`,
		`unrecognized environment variable ETCD_ROOT_PASSWORD=x`:  `unrecognized environment variable ETCD_ROOT_PASSWORD=(sensitive)`,
		`refused: Authorization: Basic b3BzOnh4eHh4`:              `refused: Authorization: Basic (sensitive)`,
		`tocommit(48) is out of range [lastIndex(4)]`:             `tocommit(48) is out of range [lastIndex(4)]`,
		`listen tcp 127.0.0.1:2380: bind: address already in use`: `listen tcp 127.0.0.1:2380: bind: address already in use`,
		`etcdserver: invalid auth token`:                          `etcdserver: invalid auth token`,
	} {
		if got := Scrub(text); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		line, _ := json.Marshal(map[string]string{"level": "fatal", "msg": text})
		if got, _ := Words(line); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
