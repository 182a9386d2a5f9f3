package harness

import (
	"fmt"
	"os"
	"path/filepath"
)

// keeperScript is an init script as somebody may have it: it starts etcd with the file
// that requorum tells of, and goes by a pid file. Each of its verbs can be spoilt.
const keeperScript = `#!/bin/sh
here=$(dirname "$0")
# A pid that was written down may be another process's by now; a zombie has no command line.
up() { test -s "$here/pid" && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$here/pid")/cmdline" | grep -qF -- "--data-dir=$REQUORUM_DATA_DIR"; }
echo "$(date +%%s) $1" >>"$here/calls"
if test -e "$here/$1"; then . "$here/$1"; fi
case $1 in
start)
	up && exit 0
	"%s" --config-file="$REQUORUM_ETCD_CONFIG" --data-dir="$REQUORUM_DATA_DIR" </dev/null >>"$here/etcd.log" 2>&1 &
	echo $! >"$here/pid" ;;
stop)
	up || exit 0
	kill "$(cat "$here/pid")"
	while up; do sleep 0.05; done ;;
status)
	up || exit 3 ;;
esac
`

// Commands is the folder of a member's script.
func (c *Cluster) Commands(m Member) string { return filepath.Join(c.Dir, "commands", m.Name) }

// UnderCommands has each member of the file kept by a script of its own, which runs r's
// etcd; hosts says how each one's host is reached, nil for this machine.
func (c *Cluster) UnderCommands(r Release, reach func(i int) string) *Cluster {
	c.env.t.Helper()
	c.Head = ""
	for i := range c.Members {
		m := &c.Members[i]
		m.Host = fmt.Sprintf("n%d", i+1)
		dir := c.Commands(*m)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			c.env.t.Fatal(err)
		}
		script := filepath.Join(dir, "member")
		if err := os.WriteFile(script, fmt.Appendf(nil, keeperScript, r.Etcd), 0o755); err != nil {
			c.env.t.Fatal(err)
		}
		how := ""
		if reach != nil {
			how = reach(i)
		}
		c.Head += fmt.Sprintf("host %q {\n%s  service \"command\" {\n    start  = [%q, \"start\"]\n    stop   = [%q, \"stop\"]\n    status = [%q, \"status\"]\n  }\n}\n", m.Host, how, script, script, script)
	}
	c.More += r.Block()
	return c.Write()
}

// Spoil has a verb of the member's script run this first; "" takes it back.
func (c *Cluster) Spoil(m Member, verb, text string) {
	c.env.t.Helper()
	path := filepath.Join(c.Commands(m), verb)
	var err error
	if text == "" {
		err = os.Remove(path) // the test's own
	} else {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		c.env.t.Fatal(err)
	}
}
