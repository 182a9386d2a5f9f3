package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// A cluster that somebody installed, in each way that people do, is imported over ssh:
// with no edit of the file there is nothing to do, and nothing was changed on the hosts.
// What its units know of secrets is not in the file.
func TestImportInstalled(t *testing.T) {
	wanted(t)
	const secret = "tOpSecret77"
	b := bed.New(t, bed.Options{Etcds: []string{"3.6"}})
	for i, style := range []bed.Style{bed.Packaged, bed.Flags, bed.Environment, bed.ConfigFile} {
		t.Run(string(style), func(t *testing.T) {
			if i > 1 {
				onlyFull(t)
			}
			in := bed.Install{Style: style, Settings: map[string]string{"auto-compaction-retention": "1h"}}
			if style != bed.Packaged {
				in.Minor, in.DataDir = "3.6", fmt.Sprintf("/var/lib/etcd/%s", style)
			}
			c := b.Prepare(in)
			for _, h := range b.Hosts() {
				h.MustRun("mkdir -p /etc/systemd/system/" + bed.Unit + ".d && printf '[Service]\\nEnvironment=ETCD_DISCOVERY_PASSWORD=" + secret + " OTHER_TOKEN=" + secret + "\\n' >/etc/systemd/system/" + bed.Unit + ".d/secret.conf && systemctl daemon-reload")
			}
			c.Start()
			began := c.Started()
			harness.Fill(t, c.Endpoints(), 20)
			path := b.Path("home", string(style)+".hcl")
			r := b.Requorum("import", "--ssh-user", "ops", "--endpoints", strings.Join(c.Endpoints()[:1], ","), "--out", path).Want(t, 0)
			r.Says(t, "nothing to do")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text)+r.Stdout+r.Stderr, secret) || strings.Contains(string(text), "compaction") {
				t.Errorf("the file:\n%s", text)
			}
			if p := b.Plan(path); p.Route != "in-sync" || len(p.Steps) > 0 || p.Refusal != nil {
				t.Errorf("route %s, steps %s, refusal %q: %s\n%s", p.Route, p.Kinds(), p.Code(), p.Headline, text)
			}
			if now := c.Started(); fmt.Sprint(now) != fmt.Sprint(began) {
				t.Errorf("started %v, then %v", began, now)
			}
			for _, h := range b.Hosts() { // for the next style
				h.MustRun("systemctl disable --now " + bed.Unit + " && rm -rf /etc/systemd/system/" + bed.Unit + ".d")
			}
		})
	}
}
