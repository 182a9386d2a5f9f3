package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/snapshot"
	"go.uber.org/zap"
)

// Server is a plain etcd of one member, run by hand: `requorum etcd …`.
type Server struct {
	Name, Client, Peer, DataDir, Log string
	cmd                              *exec.Cmd
	ended                            chan struct{}
}

// NewServer describes an etcd on two ports with its data and log in dir; bin is
// requorum.
func NewServer(bin, dir, name, client, peer string) *Server {
	s := &Server{
		Name: name, Client: client, Peer: peer,
		DataDir: filepath.Join(dir, name), Log: filepath.Join(dir, name+".log"),
	}
	s.cmd = exec.Command(bin, "etcd", "--name="+name, "--data-dir="+s.DataDir,
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
		"--initial-cluster="+name+"="+peer, "--initial-cluster-token=by-hand-"+name)
	return s
}

// Start starts it and waits until it serves.
func (s *Server) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.cmd.Path, s.cmd.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.ended:
			cancel(fmt.Errorf("etcd %s (pid %d) ended: %s", s.Name, s.PID(), cmd.ProcessState))
		case <-ctx.Done():
		}
	}()
	return awaitServingAt(ctx, s.Client)
}

// PID is the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Signal sends sig and waits until the process has ended.
func (s *Server) Signal(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("etcd %s (pid %d) has not ended 30 s after %s", s.Name, s.PID(), sig)
	}
}

func awaitServingAt(ctx context.Context, endpoint string) error {
	cli, err := Dial(endpoint)
	if err != nil {
		return err
	}
	defer cli.Close()
	return awaitServing(ctx, cli)
}

func awaitServing(ctx context.Context, cli *clientv3.Client) error {
	for {
		one, cancel := context.WithTimeout(ctx, time.Second)
		_, err := cli.Get(one, "x")
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w (%w)", cli.Endpoints()[0], context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Server starts a plain etcd on free ports in the test's folder.
func (e *Env) Server(name string) *Server {
	e.t.Helper()
	p := e.Ports(2)
	return e.ServerAt(name, p.URL(0), p.URL(1))
}

// ServerAt starts a plain etcd with these URLs.
func (e *Env) ServerAt(name, client, peer string) *Server {
	e.t.Helper()
	s := NewServer(Binary(), e.Dir, name, client, peer)
	e.StartServer(s)
	return s
}

// StartServer starts s, again perhaps.
func (e *Env) StartServer(s *Server) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		e.t.Fatal(err)
	}
	e.byHand[s.PID()] = true
}

// StopServer ends s with SIGTERM.
func (e *Env) StopServer(s *Server) {
	e.t.Helper()
	if err := s.Signal(syscall.SIGTERM); err != nil {
		e.t.Fatal(err)
	}
}

// Dial gives a client of the endpoints, without a word on stderr.
func Dial(endpoints ...string) (*clientv3.Client, error) {
	var here *Net
	return here.Dial(endpoints...)
}

// Client gives a client for the test's time.
func Client(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	cli, err := Dial(endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// SaveSnapshot saves a snapshot of the live member at endpoint to path.
func SaveSnapshot(ctx context.Context, endpoint, path string) error {
	var here *Net
	cfg := here.config([]string{endpoint})
	_, err := snapshot.SaveWithVersion(ctx, zap.NewNop(), cfg, path)
	return err
}

// Snapshot is SaveSnapshot for tests; it gives path.
func Snapshot(t testing.TB, endpoint, path string) string {
	t.Helper()
	if err := SaveSnapshot(Context(t), endpoint, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Context ends with the test, or after two minutes.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Status asks the member at endpoint.
func Status(t testing.TB, endpoint string) *clientv3.StatusResponse {
	t.Helper()
	r, err := Client(t, endpoint).Status(Context(t), endpoint)
	if err != nil {
		t.Fatalf("%s: %v", endpoint, err)
	}
	return r
}

// Leader is the place of the endpoint that leads, as the first one says.
func Leader(ctx context.Context, endpoints []string) (int, error) {
	cli, err := Dial(endpoints...)
	if err != nil {
		return 0, err
	}
	defer cli.Close()
	leader := uint64(0)
	for i, ep := range endpoints {
		st, err := cli.Status(ctx, ep)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", ep, err)
		}
		if i == 0 {
			leader = st.Leader
		}
		if leader != 0 && st.Header.MemberId == leader {
			return i, nil
		}
	}
	return 0, fmt.Errorf("none of %v leads", endpoints)
}

// ClusterID is the one cluster ID that all endpoints have, in hex.
func ClusterID(t testing.TB, endpoints []string) string {
	t.Helper()
	id := ""
	for _, ep := range endpoints {
		now := fmt.Sprintf("%x", Status(t, ep).Header.ClusterId)
		if id != "" && now != id {
			t.Fatalf("two cluster IDs: %s and %s", id, now)
		}
		id = now
	}
	return id
}

// AwaitServing waits until the member at endpoint answers linearizable reads.
func AwaitServing(t testing.TB, endpoint string) {
	t.Helper()
	if err := awaitServingAt(Context(t), endpoint); err != nil {
		t.Fatal(err)
	}
}
