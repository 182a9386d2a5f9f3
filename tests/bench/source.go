package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/tests/harness"
)

// source is a snapshot, and the data directory it was saved from.
type source struct {
	dir, path, sha256 string
	keys              int
	bytes             int64
}

// What a Kubernetes object is like, and the writes that make many of them.
const (
	valueSize = 4 << 10
	perTxn    = 64
)

// makeSource fills a real etcd and saves a snapshot from it.
func (b *bench) makeSource(ctx context.Context, mb int) (*source, error) {
	src := &source{dir: filepath.Join(b.dir, fmt.Sprintf("source-%d", mb))}
	src.path = filepath.Join(src.dir, "snapshot.db")
	if err := os.Mkdir(src.dir, 0o700); err != nil {
		return nil, err
	}
	s, err := b.startSource(ctx, src, "--unsafe-no-fsync")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := fill(ctx, s.client, mb); err != nil {
		return nil, err
	}
	if _, err := command(ctx, nil, b.etcdctl, "--endpoints", s.client, "snapshot", "save", src.path); err != nil {
		return nil, err
	}
	obs := snapshot.Verify(ctx, src.path, snapshot.Want{}, nil)
	if obs.Problem != "" {
		return nil, errors.New(obs.Detail)
	}
	src.sha256, src.keys, src.bytes = obs.SHA256, obs.Keys, obs.Size
	return src, nil
}

func fill(ctx context.Context, endpoint string, mb int) error {
	c, err := dial(endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	rnd := rand.NewChaCha8([32]byte{1})
	value := make([]byte, valueSize)
	for i := 0; ; {
		if i%(1<<20/valueSize*10) == 0 {
			s, err := c.Status(ctx, endpoint)
			if err != nil || s.DbSizeInUse >= int64(mb)<<20 {
				return err
			}
		}
		var puts []clientv3.Op
		for ; len(puts) < perTxn; i++ {
			_, _ = rnd.Read(value) // never an error
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("/registry/bench/%08d", i), string(value)))
		}
		if _, err := c.Txn(ctx).Then(puts...).Commit(); err != nil {
			return err
		}
	}
}

func dial(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialTimeout: 2 * time.Second})
}

// server is an etcd that this program started.
type server struct {
	cmd    *exec.Cmd
	client string
	ended  chan struct{}
}

// startEtcd starts one with requorum's etcd, its output in a file in dir.
func (b *bench) startEtcd(dir, name, client, peer string, more ...string) (*server, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{"etcd", "--name", name, "--data-dir", filepath.Join(dir, name),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--quota-backend-bytes", "8589934592"}, more...)
	s := &server{cmd: exec.Command(b.requorum, args...), client: client, ended: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
}

func (b *bench) startSource(ctx context.Context, src *source, more ...string) (*server, error) {
	ports, err := harness.ReservePorts(2)
	if err != nil {
		return nil, err
	}
	defer ports.Release()
	client, peer := ports.URL(0), ports.URL(1)
	s, err := b.startEtcd(src.dir, "source", client, peer, append(more, "--initial-cluster", "source="+peer)...)
	if err != nil {
		return nil, err
	}
	if _, err := serving(ctx, []string{client}); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// serving waits until one of the endpoints answers a linearizable read.
func serving(ctx context.Context, endpoints []string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	answered := make(chan time.Time, len(endpoints))
	for _, e := range endpoints {
		c, err := dial(e)
		if err != nil {
			return time.Time{}, err
		}
		defer c.Close()
		go func() {
			for ctx.Err() == nil {
				try, stop := context.WithTimeout(ctx, time.Second)
				_, err := c.Get(try, "any")
				stop()
				if err == nil {
					answered <- time.Now()
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}
	select {
	case t := <-answered:
		return t, nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("nothing serves at %s: %w", strings.Join(endpoints, ", "), ctx.Err())
	}
}
