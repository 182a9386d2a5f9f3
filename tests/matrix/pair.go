package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// pair is a snapshot and the servers that it goes to.
type pair struct {
	from       taken
	to, newest harness.Release

	did  string // what requorum did
	code string // why it refused, "" where it restored
	own  string // what came of the server's own restore
	// byNewest is what came of the newest etcdutl, whose restore is requorum's.
	byNewest string
	err      error // that this is not what requorum said
}

func (p *pair) try(ctx context.Context) {
	name := p.from.of.Minor + "-" + p.to.Minor
	_, err := harness.Outside(ctx, "matrix-"+name, p.requorum, nil)
	if err != nil {
		p.did, p.err = "failed", err
	}
	tool := p.to.Etcdutl
	if tool == "" {
		tool = p.to.Etcdctl // before 3.5 it restores
	}
	own, newest := p.byHand(ctx, name+"-own", tool), p.byHand(ctx, name+"-newest", p.newest.Etcdutl)
	p.own, p.byNewest = word(own), word(newest)
	switch {
	case p.err != nil:
	case p.code != "" && own == nil:
		p.err = fmt.Errorf("refused, and yet its own restore leads to a server with all keys")
	case p.code != "" && newest == nil:
		p.err = fmt.Errorf("refused, and yet a restore by etcdutl %s leads to a server with all keys", p.newest.Version)
	}
}

func word(err error) string {
	if err == nil {
		return "serves all keys"
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 90 {
		text = text[:90] + "…"
	}
	return text
}

// requorum plans and applies the restore to three members.
func (p *pair) requorum(t testing.TB) {
	e := harness.New(t)
	c := e.Cluster(3)
	c.Snapshot, c.More = "snapshot.db", p.to.Block()
	b, err := os.ReadFile(p.from.path)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, c.Snapshot), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Write()
	if plan := e.Plan(c.Path()); plan.Refusal != nil {
		p.code, p.did = plan.Code(), "refused: "+plan.Code()
		if p.code != "snapshot-version" {
			t.Errorf("refused for another reason: %s: %s", plan.Refusal.Title, plan.Refusal.Detail)
		}
		e.Run("apply", "--auto-approve", c.Path()).Want(t, 6)
		return
	}
	e.Settle(c.Path(), harness.Granted)
	harness.CompareAll(t, p.from.keys, c.Endpoints())
	for _, m := range c.Members {
		if _, err := harness.Client(t, m.Client).Put(harness.Context(t), "/after/"+m.Name, "written"); err != nil {
			t.Fatal(err)
		}
	}
	if err := harness.SameHash(harness.Context(t), c.Endpoints()); err != nil {
		t.Fatal(err)
	}
	c.Stop()
	e.Settle(c.Path(), harness.Granted)
	if err := harness.SameHash(harness.Context(t), c.Endpoints()); err != nil {
		t.Fatal(err)
	}
	p.did = "restored, serves all keys"
}

// serveLimit is how long a server that was restored by hand may take to serve.
const serveLimit = 15 * time.Second

// byHand restores with a command of etcd's and starts the server on that: nil where
// it serves every key.
func (p *pair) byHand(ctx context.Context, name, tool string) (result error) {
	_, err := harness.Outside(ctx, "matrix-"+name, func(t testing.TB) {
		e := harness.New(t)
		m := e.Cluster(1).Members[0]
		r := e.Tool(tool, "snapshot", "restore", p.from.path, "--name="+m.Name, "--data-dir="+m.DataDir,
			"--initial-cluster="+harness.InitialCluster([]harness.Member{m}), "--initial-advertise-peer-urls="+m.Peer, "--initial-cluster-token=matrix")
		if r.Exit != 0 {
			result = fmt.Errorf("the restore fails: %s", lastLine(r.Stdout+r.Stderr))
			return
		}
		h := e.Hand(m, nil).Of(p.to)
		h.Start()
		result = p.lives(t, h)
		if h.Runs() {
			harness.Hands{h}.Kill9()
		}
	}, nil)
	if result == nil {
		result = err
	}
	return result
}

// lives has a server do what a server does, twice: a db of a newer version may
// serve at first, and kill it at the next write or start.
func (p *pair) lives(t testing.TB, h *harness.Hand) error {
	want := maps.Clone(p.from.keys)
	for _, life := range []string{"first", "second"} {
		if err := serves(h); err != nil {
			return fmt.Errorf("%s start: %w", life, err)
		}
		ctx := harness.Context(t)
		if err := harness.CompareKeys(ctx, []string{h.Client}, want); err != nil {
			return fmt.Errorf("%s start: %w", life, err)
		}
		if err := works(ctx, h.Client, want, life); err != nil {
			return fmt.Errorf("%s start: %w: %s", life, err, why(h.Log()))
		}
		if life == "first" {
			harness.Hands{h}.Kill9()
			h.Start()
		}
	}
	return nil
}

// works writes, with a lease and without, compacts, defragments and adds a user,
// and enters into want what is there afterwards.
func works(ctx context.Context, endpoint string, want harness.Keys, name string) error {
	cli, err := harness.Dial(endpoint)
	if err != nil {
		return err
	}
	defer cli.Close()
	lease, err := cli.Grant(ctx, 3600)
	if err != nil {
		return err
	}
	if _, err := cli.Put(ctx, "/lease/"+name, "held", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	put, err := cli.Put(ctx, "/"+name, "written")
	if err != nil {
		return err
	}
	want["/lease/"+name], want["/"+name] = "held", "written"
	if _, err := cli.Compact(ctx, put.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	if _, err := cli.Defragment(ctx, endpoint); err != nil {
		return err
	}
	if _, err := cli.UserAdd(ctx, name, "secret"); err != nil {
		return err
	}
	time.Sleep(6 * time.Second) // what a server does every few seconds, as looking at its version
	return nil
}

// serves waits until it does, or its process has ended, or the time is over.
func serves(h *harness.Hand) error {
	for end := time.Now().Add(serveLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if !h.Runs() {
			return fmt.Errorf("it ends: %s", why(h.Log()))
		}
		one, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := harness.ReadAll(one, h.Client)
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("it does not serve within %s: %s", serveLimit, why(h.Log()))
}

// why is the line of a log that says what went wrong.
func why(log string) string {
	b, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(b)) {
		for _, word := range []string{`"level":"fatal"`, `"level":"panic"`, "panic: ", " C | "} {
			_, after, found := strings.Cut(line, word)
			if _, msg, json := strings.Cut(after, `"error":`); json {
				after = msg
			}
			if found {
				return strings.TrimSpace(after)
			}
		}
	}
	return lastLine(string(b))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
