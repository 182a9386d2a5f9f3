package load

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdmainFlags are registered by etcdmain beside embed's, where no test can
// reach them (etcdmain/config.go, newConfig).
var etcdmainFlags = []string{"config-file", "discovery-fallback", "initial-cluster-state", "v2-deprecation", "version"}

func kindOfFlag(f *flag.Flag) flagKind {
	switch name := strings.ToLower(reflect.TypeOf(f.Value).String()); {
	case strings.Contains(name, "boolvalue"):
		return flagBool
	case strings.Contains(name, "durationvalue"):
		return flagDuration
	case strings.Contains(name, "uint"):
		return flagUint
	case strings.Contains(name, "int"):
		return flagInt
	}
	return flagText
}

// TestEtcdFlags holds the table against the etcd that go.mod names, so that an
// upgrade can't drift away from it.
func TestEtcdFlags(t *testing.T) {
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	embed.NewConfig().AddFlags(fs)
	want := map[string]flagKind{}
	fs.VisitAll(func(f *flag.Flag) { want[f.Name] = kindOfFlag(f) })
	for _, name := range etcdmainFlags {
		want[name] = flagText
	}
	want["version"] = flagBool
	if os.Getenv("REQUORUM_PRINT_FLAGS") != "" {
		for _, n := range names(want) {
			fmt.Printf("\t%q: %s,\n", n, []string{"flagText", "flagBool", "flagInt", "flagUint", "flagDuration"}[want[n]])
		}
	}
	for name, kind := range want {
		got, ok := etcdFlags[name]
		if !ok {
			t.Errorf("etcd has the flag %q, the table has not", name)
		} else if got != kind {
			t.Errorf("%s: the table has kind %d, etcd %d", name, got, kind)
		}
	}
	for name := range etcdFlags {
		if _, ok := want[name]; !ok {
			t.Errorf("the table has %q, etcd has not", name)
		}
	}
	for name := range dangerous {
		if _, ok := want[name]; !ok {
			t.Errorf("dangerous has %q, etcd has not", name)
		}
	}
	for _, name := range formerFlags {
		if slices.Contains(names(want), name) {
			t.Errorf("%q is called former, but etcd has it", name)
		}
	}
}
