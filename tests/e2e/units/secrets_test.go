package units

import (
	"fmt"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// A secret in a setting of a unit (in its ExecStart, its environment file, etcd's own
// file, Debian's defaults) is told nowhere, takes nothing else from what is told, and
// stays where it is: the member is adopted and started with it, and no drop-in is written
// that would leave it out.
func TestSecretsOfUnits(t *testing.T) {
	wanted(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: len(bed.Styles), Etcds: []string{"3.6"}})
	for i, style := range bed.Styles {
		h := b.Hosts()[i]
		word := fmt.Sprintf("qZ4v7Wj%dbT", i)
		in := bed.Install{Style: style, Hosts: []string{h.Name}, Settings: map[string]string{"cors": "http://ops:" + word + "@h:80"}}
		if style != bed.Packaged {
			in.Minor = "3.6"
		}
		c := b.ByHand(in)
		give(t, h, harness.Binary(), "/usr/local/bin/requorum")
		m := member{h.Name, bed.Unit, c.Members[0].DataDir, 2380, 2379}
		write(h, etcdBlock(c.Minor, c.Binary(), ""), m)
		told := func(args string, exit int, says string) {
			t.Helper()
			r := requorum(t, h, args).Want(t, exit)
			if all := r.Stdout + r.Stderr; strings.Contains(all, word) || !strings.Contains(flat(all), says) {
				t.Errorf("%s: %s: want %q, and no secret: %s", style, args, says, r)
			}
		}
		told("plan --detailed-exitcode", 0, "in sync: nothing to do")
		told("plan --json", 0, "in-sync")
		told("status --json", 0, c.Members[0].DataDir)
		told("rescue", 6, "a process has it open")
		told("stop --auto-approve", 0, "stop")
		told("rescue --data-dir "+m.dataDir, 0, m.dataDir)
		told("plan --out p.json", 0, "start")
		for _, format := range []string{"text", "json", "markdown", "html"} {
			told("show --format "+format+" p.json", 0, "start")
		}
		told("apply p.json", 0, "Done")
		c.AwaitServing()
		told("log last --format json", 0, "start")
		if line := h.MustRun("p=$(systemctl show --value -p MainPID etcd); tr '\\0' '\\n' </proc/$p/cmdline; tr '\\0' '\\n' </proc/$p/environ; cat /etc/etcd*/* /etc/etcd* 2>/dev/null || true"); !strings.Contains(line, word) {
			t.Errorf("%s: it runs without its setting: %s", style, line)
		}

		// What the file asks for would need a drop-in, which can't have the secret.
		write(h, etcdBlock(c.Minor, c.Binary(), "    config = { quota-backend-bytes = 3000000000 }\n"), m)
		told("plan", 6, "--cors, which has a secret in it")
		told("apply --auto-approve --accept=downtime", 6, "--cors")
		write(h, etcdBlock(c.Minor, c.Binary(), "    config = { quota-backend-bytes = 3000000000, cors = \"http://h:80\" }\n"), m)
		told("plan", 0, "--cors=http://h:80")
		told("apply --auto-approve --accept=downtime", 0, "Done")
		c.AwaitServing()
		told("plan --detailed-exitcode", 0, "in sync")

		found := h.MustRun("grep -rlIF " + word + " /root /etc/systemd " + m.dataDir + ".requorum 2>/dev/null || true")
		for _, name := range strings.Fields(found) {
			if name != "/etc/systemd/system/"+bed.Unit { // where somebody wrote it
				t.Errorf("%s: %s has the secret", style, name)
			}
		}
	}
}
