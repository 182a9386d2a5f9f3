package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// A cluster's whole life over ssh: it begins, serves, loses all its data, comes back
// from a snapshot that goes to all hosts, loses two disks and comes back from the
// third.
func TestBothProcedures(t *testing.T) {
	b := newBed(t, 3)
	e := b.e
	p := e.Plan(b.Path())
	if p.Route != "bootstrap" || p.Refusal != nil {
		t.Fatalf("%+v", p)
	}
	e.Apply(b.Path())
	e.InSync(b.Path())
	e.Run("status", b.Path()).Want(t, 0)
	keys := harness.Fill(t, b.Endpoints(), 2000)

	// Restore: every disk is gone.
	saved := e.Path("saved.db")
	e.Run("snapshot", "save", "--to", saved, b.Path()).Want(t, 0)
	b.PowerCut()
	b.DropData(b.Members...)
	b.Snapshot = saved
	b.Write()
	if p := e.Plan(b.Path()); p.Route != "restore" || p.Consents() != "data-loss" {
		t.Fatalf("%+v", p)
	}
	e.Apply(b.Path(), "--accept=data-loss")
	e.InSync(b.Path())
	harness.CompareAll(t, keys, b.Endpoints())

	// Recover: two disks are gone, and what the third one has goes to all.
	b.Snapshot = ""
	b.Write()
	b.PowerCut()
	b.DropData(b.Members[0], b.Members[2])
	p = e.Plan(b.Path())
	if p.Route != "recover" || !p.Survivors[0].Chosen || p.Survivors[0].Name != "m2" {
		t.Fatalf("%+v", p)
	}
	e.Apply(b.Path(), "--accept="+p.Consents())
	e.InSync(b.Path())
	harness.CompareAll(t, keys, b.Endpoints())
	e.Run("stop", "--auto-approve", b.Path()).Want(t, 0)
}

// The same hosts with TLS: the certificates are read where they lie.
func TestTLSOnHosts(t *testing.T) {
	b := newBed(t, 3)
	e := b.e
	a := harness.NewAuthority(t, "the CA")
	b.Secure(a)
	lost := filepath.Join(b.TLSDir(), "m2-peer.key")
	if err := os.Rename(lost, lost+".away"); err != nil {
		t.Fatal(err)
	}
	b.Write()
	if p := e.Plan(b.Path()); p.Code() != "certificate-missing" || !strings.Contains(p.Refusal.Title, "m2") {
		t.Fatalf("%+v", p.Refusal)
	}
	if err := os.Rename(lost+".away", lost); err != nil {
		t.Fatal(err)
	}
	e.Apply(b.Path())
	e.InSync(b.Path())
	e.Run("status", b.Path()).Want(t, 0)
	keys := harness.Fill(t, b.Endpoints(), 2000)
	e.Run("snapshot", "save", "--to", e.Path("saved.db"), b.Path()).Want(t, 0)
	b.PowerCut()
	b.DropData(b.Members[0], b.Members[2])
	p := e.Plan(b.Path())
	if p.Route != "recover" {
		t.Fatalf("%+v", p)
	}
	e.Apply(b.Path(), "--accept="+p.Consents())
	e.InSync(b.Path())
	harness.CompareAll(t, keys, b.Endpoints())
	e.Run("stop", "--auto-approve", b.Path()).Want(t, 0)
}

// A host that can't be reached makes its own facts unknown, in words, and holds up
// nothing.
func TestOneHostUnreachable(t *testing.T) {
	b := newBed(t, 3)
	e := b.e
	e.Apply(b.Path())
	b.off(2)
	began := time.Now()
	r := e.Run("status", b.Path())
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("it took %s\n%s", took, r)
	}
	r.Says(t, "n3: there is no connection")
	// It serves: the cluster can do without its disk being looked at.
	r = e.Run("plan", b.Path()).Want(t, 0)
	r.Says(t, "n3: there is no connection")
	// A change wants the locks of a majority.
	b.off(1)
	three := b.Members
	ports := e.Ports(2)
	m4 := harness.Member{Name: "m4", Host: "n1", Client: ports.URL(0), Peer: ports.URL(1), DataDir: filepath.Join(filepath.Dir(b.Members[0].DataDir), "m4")}
	e.Expect(m4.DataDir)
	b.Members = append(three[:3:3], m4)
	b.Write()
	e.Run("apply", "--auto-approve", b.Path()).Want(t, 6).Says(t, "the locks of only 2 of 4 voters", "n2: there is no connection")
	b.Members = three
	b.Write()
	// Killed, nothing is known of it.
	if err := harness.Kill9([]harness.Proc{b.Supervisor(b.Members[2]), b.Etcd(b.Members[2])}); err != nil {
		t.Fatal(err)
	}
	r = e.Run("plan", b.Path()).Want(t, 6)
	r.Says(t, "data-unknown", "n3: there is no connection")
	e.Run("apply", "--auto-approve", b.Path()).Want(t, 6).Says(t, "data-unknown")
	b.sshd[1].Start()
	b.sshd[2].Start()
	e.Apply(b.Path())
	e.InSync(b.Path())
}

// The agent is placed by plan, said to be, and forbidden by --no-install.
func TestNoInstall(t *testing.T) {
	b := newBed(t, 1)
	r := b.e.Run("plan", "--no-install", b.Path()).Want(t, 6)
	r.Says(t, "data-unknown", "--no-install")
	r = b.e.Run("plan", b.Path()).Want(t, 0)
	if !strings.Contains(r.Stderr, "placed its agent on n1: /var/lib/requorum/agent/") {
		t.Errorf("%s", r)
	}
	r = b.e.Run("plan", "--no-install", b.Path()).Want(t, 0)
	if strings.Contains(r.Stderr, "placed") {
		t.Errorf("%s", r)
	}
	if _, err := os.Stat(b.Members[0].Base()); err == nil {
		t.Error("plan left something")
	}
}

// Two operators, each with a connection of his own: the second one is told who the
// first is.
func TestSecondOperator(t *testing.T) {
	b := newBed(t, 2)
	cmd := b.e.Command("apply", b.Path())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	lock := b.Members[1].Base() + "/lock"
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(lock); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no lock was taken")
		}
	}
	b.e.Run("apply", "--auto-approve", b.Path()).Want(t, 5).Says(t, "is locked by")
}
