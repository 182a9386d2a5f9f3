package remote

import (
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Members that commands of the user's keep on other hosts: the cluster begins, is
// recovered from one disk, and a status command that hangs there is unknown here.
func TestCommandsOverSSH(t *testing.T) {
	r := harness.Etcd(t, "3.6")
	b := newBed(t, 3)
	b.UnderCommands(r, b.reach)
	e := b.e
	e.Apply(b.Path())
	e.InSync(b.Path())
	keys := harness.Fill(t, b.Endpoints(), 2000)
	for _, m := range b.Members {
		if b.Etcd(m).PID == 0 || b.Supervisor(m).PID != 0 {
			t.Errorf("%s: %v", m.Name, b.Processes())
		}
	}

	b.PowerCut()
	b.DropData(b.Members[0], b.Members[2])
	b.Spoil(b.Members[1], "status", "sleep 300")
	e.Run("plan", b.Path()).Want(t, 6).Says(t, "commands-unfit", "did not end within 10s")
	b.Spoil(b.Members[1], "status", "")
	p := e.Plan(b.Path())
	if p.Route != "recover" || p.Refusal != nil {
		t.Fatalf("%+v", p)
	}
	e.Apply(b.Path(), "--accept="+p.Consents())
	e.InSync(b.Path())
	harness.CompareAll(t, keys, b.Endpoints())
	e.Run("stop", "--auto-approve", b.Path()).Want(t, 0)
	if left := b.Processes(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
