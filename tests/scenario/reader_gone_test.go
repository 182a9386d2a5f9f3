package scenario

import (
	"bufio"
	"io"
	"os"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Whoever reads apply's output goes away (apply | head): the apply goes on to its end.
func TestApplyWithoutAReader(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := e.Command("apply", "--auto-approve", c.Path())
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := bufio.NewReader(io.LimitReader(r, 1)).ReadByte(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	e.InSync(c.Path())
}
