package planner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
)

// TestEveryStateHasItsScenario: each state has a file, named after its number and its
// code, in which a plan finds it, or a state that looks the same.
func TestEveryStateHasItsScenario(t *testing.T) {
	files, err := filepath.Glob("testdata/states/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range planner.States() {
		path := fmt.Sprintf("testdata/states/%02d-%s.txt", s.Number, s.Code)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("state %d has no scenario: %v", s.Number, err)
			continue
		}
		files = slices.DeleteFunc(files, func(f string) bool { return f == path })
		found := map[int]bool{}
		for _, m := range regexp.MustCompile(`(?m)^state (\d+) `).FindAllStringSubmatch(string(text), -1) {
			n, _ := strconv.Atoi(m[1])
			found[n] = true
		}
		if !found[s.Number] && !slices.ContainsFunc(s.Alike, func(n int) bool { return found[n] }) {
			t.Errorf("%s: no plan in it finds state %d, nor one that looks the same", path, s.Number)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not begin by saying what happened", path)
		}
	}
	if len(files) > 0 {
		t.Errorf("named after no state: %v", files)
	}
}

// pains are what operators of etcd have come to grief over, and asked for help with in
// public: the first thread of each, and the others that its file mentions.
var pains = map[string][]string{
	"etcd-16028":                 {"kubernetes#118501"},
	"etcd-17638":                 nil,
	"etcd-14009":                 {"k3s#11992"},
	"etcd-20071":                 {"#20896", "#20967"},
	"etcd-19557":                 {"#20793"},
	"etcd-21694":                 nil,
	"etcd-12738":                 {"k0s#7639"},
	"etcd-3505":                  {"#3000"},
	"etcd-10114":                 {"#16798"},
	"etcd-operator-975":          {"etcdadm#16", "cluster-api#8250"},
	"etcd-10002":                 {"#5244", "etcd-operator#1969"},
	"etcd-8169":                  {"#3710", "#6103"},
	"etcd-9109":                  {"#9096", "#13509", "#20269"},
	"k3s-4296":                   {"rke2#2015", "#3176", "talos#12720"},
	"druid-420":                  {"#886", "etcd#7585"},
	"cluster-etcd-operator-1626": nil,
	"etcd-18340":                 {"etcd-backup-restore#749", "#778"},
	"etcd-14456":                 nil,
	"k3s-2301":                   {"#13085"},
	"kubernetes-86812":           nil,
}

func TestEveryPainHasItsScenario(t *testing.T) {
	for name, others := range pains {
		text, err := os.ReadFile("testdata/pains/" + name + ".txt")
		if err != nil {
			t.Errorf("no scenario: %v", err)
			continue
		}
		first := strings.LastIndex(name, "-")
		for _, thread := range append([]string{"#" + name[first+1:]}, others...) {
			if !strings.Contains(string(text), thread) {
				t.Errorf("%s does not mention %s", name, thread)
			}
		}
	}
	files, err := filepath.Glob("testdata/pains/*.txt")
	if err != nil || len(files) != len(pains) {
		t.Errorf("%d files for %d pains (%v)", len(files), len(pains), err)
	}
}
