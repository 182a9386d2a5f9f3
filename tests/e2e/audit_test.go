package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// An audit finds nothing about a cluster that is as it should be: three hosts, units that
// come back after a boot, a backup that was tried out. Of Debian's 3.4.23 it finds that
// it is 3.4.23, and nothing else. What is planted on a host then is found, and no more.
func TestAuditOfHealthyClusters(t *testing.T) {
	wanted(t)
	for i, in := range []bed.Install{
		{Minor: "3.7", Style: bed.ConfigFile},
		{Style: bed.Packaged},
		{Minor: "3.5", Style: bed.Flags},
		{Minor: "3.6", Style: bed.Environment},
	} {
		name := in.Minor
		if name == "" {
			name = "3.4"
		}
		t.Run(name, func(t *testing.T) {
			if i > 0 {
				onlyFull(t)
			}
			o := bed.Options{}
			if in.Minor != "" {
				o.Etcds = []string{in.Minor}
			}
			b := bed.New(t, o)
			c := b.ByHand(in)
			harness.Fill(t, c.Endpoints(), 50)
			backups := b.Path("home", "backups")
			if err := os.Mkdir(backups, 0o700); err != nil {
				t.Fatal(err)
			}
			path := c.Write(bed.File{Cluster: fmt.Sprintf("  policy { backups = %q }\n", backups)})
			b.Requorum("apply", "--auto-approve", path).Want(t, 0)
			b.Requorum("snapshot", "save", "--to", backups, path).Want(t, 0)
			saved, err := filepath.Glob(filepath.Join(backups, "*"))
			if err != nil || len(saved) != 1 {
				t.Fatal(saved, err)
			}
			b.Requorum("snapshot", "drill", saved[0]).Want(t, 0)

			standing := known(t, name)
			found := func(want ...string) {
				t.Helper()
				var got, facts []string
				for _, f := range harness.DecodeAudit(t, b.Requorum("audit", "--format", "json", path)).Findings {
					key := strings.TrimSuffix(string(f.Code)+"@"+f.Member, "@")
					got, facts = append(got, key), append(facts, key+": "+f.Fact)
				}
				want = append(want, standing...)
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("found %v, want %v:\n%s", got, want, strings.Join(facts, "\n"))
				}
			}
			found()
			b.Host("m2").MustRun("systemctl disable " + bed.Unit)
			found("no-boot-start@m2")
			b.Host("m2").MustRun("systemctl enable " + bed.Unit)
			found()
			b.Host("m3").PowerOff()
			found("host-unreachable@m3")
			b.Host("m3").PowerOn()
			c.AwaitServing()
			found()
		})
	}
}

// known are the codes of the bugs that always matter and that a release has which tests
// run: of 3.4 Debian's, of the others the last ones, which have none.
func known(t *testing.T, minor string) []string {
	t.Helper()
	if minor != "3.4" {
		return nil
	}
	var out []string
	for _, b := range planner.Bugs() {
		if b.Affects("3.4.23") && slices.Contains(b.Matters, planner.OccasionAlways) {
			out = append(out, string(b.Code))
		}
	}
	if len(out) < 2 {
		t.Fatal(out)
	}
	return out
}
