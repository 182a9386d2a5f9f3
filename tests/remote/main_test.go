package remote

import (
	"fmt"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// bed is a cluster whose members are each behind an sshd of their own.
type bed struct {
	*harness.Cluster
	e    *harness.Env
	sshd []*harness.SSHD
}

// newBed is a cluster of n on n hosts, n1 and so on.
func newBed(t *testing.T, n int) *bed {
	t.Helper()
	e := harness.New(t)
	b := &bed{Cluster: e.Cluster(n), e: e}
	var head strings.Builder
	for i := range n {
		s := harness.StartSSHD(t, harness.SSHDOptions{Env: []string{"TMPDIR=" + e.Path("tmp")}})
		b.sshd = append(b.sshd, s)
		b.Members[i].Host = fmt.Sprintf("n%d", i+1)
		fmt.Fprintf(&head, "host %q {\n%s}\n", b.Members[i].Host, b.reach(i))
	}
	b.Head = head.String()
	b.Write()
	return b
}

// reach is how a host's block says that it is got to.
func (b *bed) reach(i int) string {
	return fmt.Sprintf("  address = \"127.0.0.1\"\n  ssh {\n    port    = %d\n    command = [\"ssh\", \"-F\", %q]\n  }\n", b.sshd[i].Port, b.sshd[i].Config)
}

// off makes a host one that can't be reached.
func (b *bed) off(i int) {
	b.sshd[i].Cut()
	b.sshd[i].Stop()
}
