package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// Each minor version of etcd knows what its configuration file is given: a name that it
// did not know would go unsaid. Asked is the etcd itself, by a value of a wrong kind.
func TestConfigOfEachMinor(t *testing.T) {
	t.Parallel()
	releases := []harness.Release{harness.Etcd(t, "3.4"), harness.Etcd(t, "3.5"), harness.Etcd(t, "3.6"), harness.Etcd(t, "3.7")}
	flags := map[string]map[string]bool{}
	var all []string
	for _, r := range releases {
		flags[r.Minor] = map[string]bool{}
		out, _ := etcdOf(r, "--help").CombinedOutput()
		for _, m := range regexp.MustCompile(`(?m)^\s*--([a-z0-9-]+)`).FindAllStringSubmatch(string(out), -1) {
			flags[r.Minor][m[1]], all = true, append(all, m[1])
		}
		if len(flags[r.Minor]) < 70 {
			t.Fatalf("%s has only %d flags\n%s", r.Minor, len(flags[r.Minor]), out)
		}
	}
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(f string) bool { // those that ConfigText leaves out, or says itself
		return strings.HasPrefix(f, "initial-cluster") || strings.HasPrefix(f, "discovery") || slices.Contains([]string{"config-file", "version", "name", "force-new-cluster"}, f)
	})
	for _, r := range releases {
		t.Run(r.Minor, func(t *testing.T) {
			t.Parallel()
			written := 0
			var mu sync.Mutex
			var wg sync.WaitGroup
			room := make(chan struct{}, 2)
			for _, flag := range all {
				text, err := planner.ConfigText(&planner.StartMember{Args: []string{"--" + flag + "=@@"}}, r.Minor+".1")
				if !flags[r.Minor][flag] {
					// One that help is silent about may still be a flag.
					if err == nil && flag != "experimental-snapshot-catchup-entries" {
						t.Errorf("etcd %s has no --%s, and it is written", r.Minor, flag)
					}
					continue
				}
				if err != nil {
					if !regexp.MustCompile(`crl-file$|^raft-|^proxy|allowed|skip-client-san`).MatchString(flag) {
						t.Errorf("%s: %v", r.Minor, err)
					}
					continue
				}
				written++
				room <- struct{}{}
				wg.Go(func() {
					defer func() { <-room }()
					if words := refuses(t, r, flag, text); !strings.Contains(words, "cannot unmarshal object into Go struct field") {
						mu.Lock()
						defer mu.Unlock()
						t.Errorf("etcd %s does not read what is written for --%s\n%s\n%s", r.Minor, flag, text, words)
					}
				})
			}
			wg.Wait()
			if written < 55 {
				t.Errorf("only %d were written", written)
			}
		})
	}
}

// refuses gives what an etcd says of a file with an object in the place of @@. It ends in
// any case, for it has an address that is none.
func refuses(t *testing.T, r harness.Release, flag, text string) string {
	text = regexp.MustCompile(`\[?"@@"\]?`).ReplaceAllString(text, "{ x: 1 }")
	text = regexp.MustCompile(`(?m)^(initial-cluster|name).*\n`).ReplaceAllString(text, "")
	if flag != "listen-peer-urls" {
		text += "listen-peer-urls: \"none\"\n"
	}
	path := filepath.Join(t.TempDir(), "etcd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err.Error()
	}
	out, err := etcdOf(r, "--config-file="+path).CombinedOutput()
	return fmt.Sprint(string(out), err)
}

func etcdOf(r harness.Release, args ...string) *exec.Cmd {
	argv := append(slices.Clone(r.Command()), args...)
	return exec.Command(argv[0], argv[1:]...)
}
