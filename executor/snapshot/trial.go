package snapshot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
)

// TrialRequest is one staged directory to be tried.
type TrialRequest struct {
	// Command is the beginning of etcd's command line: {"/usr/bin/etcd"}, or
	// {"/path/requorum", "etcd"}.
	Command                     []string
	StagedDataDir, StagedWALDir string // StagedWALDir is "" for the one inside
	// Scratch is a folder to make for the copy, and to remove with it. It must
	// not exist.
	Scratch  string
	Revision int64 // that must be there at least
	Keys     int   // that must be there exactly; -1 where the number is not known
}

// TrialResult is what the copy's etcd answered.
type TrialResult struct {
	Version  string // of the etcd that ran
	Revision int64
	Keys     int
	Took     time.Duration // from its start until it was read
}

// The limits of a trial.
const (
	trialStart = 60 * time.Second // until the first linearizable read
	trialRead  = 5 * time.Minute  // for reading everything afterwards
	trialStop  = 5 * time.Second  // between SIGTERM and SIGKILL
	trialPorts = 3                // attempts, where a port was taken meanwhile
)

// Trial starts etcd with --force-new-cluster on a throwaway copy of a staged
// directory, alone and on free ports of 127.0.0.1, reads it, tries a write on it, stops
// it, and removes the copy. The staged directory is only read.
//
// The copy is made harmless before etcd sees it (tame): it knows no peer's
// address, its leases do not run out while keys are counted, and neither auth
// nor an old alarm stands before the reads. It dies with this process.
//
// The error has etcd's own last words of level error and above. It is also an
// error when Scratch can't be removed.
func Trial(ctx context.Context, t TrialRequest, progress func(what string, done, total int64)) (res TrialResult, err error) {
	if len(t.Command) == 0 {
		return res, errors.New("trial: no etcd to run")
	}
	if err := os.Mkdir(t.Scratch, 0o700); err != nil {
		return res, fmt.Errorf("trial: %w", err)
	}
	// It is our own copy: nothing in it was ever anybody's data.
	defer func() {
		if rerr := os.RemoveAll(t.Scratch); rerr != nil {
			err = errors.Join(err, fmt.Errorf("removing the throwaway copy: %w", rerr))
		}
	}()
	tell := Progress(progress).tell
	tell("copying the staged directory", 0, 4)
	dataDir, walDir, err := copyStaged(ctx, t)
	if err != nil {
		return res, fmt.Errorf("trial: copying: %w", err)
	}
	if err := tame(dataDir, walDir); err != nil {
		return res, fmt.Errorf("trial: preparing the copy: %w", err)
	}
	for attempt := 1; ; attempt++ {
		tell("starting etcd on the copy", 1, 4)
		res, err = tryOnce(ctx, t, dataDir, walDir, tell)
		if err == nil || attempt == trialPorts || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	if err != nil {
		return res, fmt.Errorf("trial: %w", err)
	}
	tell("tried", 4, 4)
	return res, nil
}

func copyStaged(ctx context.Context, t TrialRequest) (dataDir, walDir string, err error) {
	dataDir = filepath.Join(t.Scratch, "data")
	if err := throwaway.CopyTree(ctx, t.StagedDataDir, dataDir); err != nil {
		return "", "", err
	}
	if t.StagedWALDir == "" {
		return dataDir, "", nil
	}
	walDir = filepath.Join(t.Scratch, "wal")
	return dataDir, walDir, throwaway.CopyTree(ctx, t.StagedWALDir, walDir)
}

// tryOnce runs etcd from start to stop.
func tryOnce(ctx context.Context, t TrialRequest, dataDir, walDir string, tell func(string, int64, int64)) (TrialResult, error) {
	var res TrialResult
	client, peer, err := freePorts()
	if err != nil {
		return res, err
	}
	began := time.Now()
	argv := append(append([]string{}, t.Command...), trialArgs(dataDir, walDir, client, peer)...)
	p, err := throwaway.Start(argv, t.Scratch, withoutSyncs)
	if err != nil {
		return res, err
	}
	defer p.Stop(trialStop)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		<-p.Done()
		cancel(errEnded)
	}()
	res, err = readTrial(ctx, t, client, tell)
	res.Took = time.Since(began)
	if err == nil {
		return res, nil
	}
	ended := errors.Is(context.Cause(ctx), errEnded)
	if words := p.LastWords(); words != "" {
		err = fmt.Errorf("%w; etcd said: %s", err, words)
	}
	if ended {
		err = fmt.Errorf("etcd ended by itself (%s): %w", p.How(), err)
	}
	return res, err
}

// withoutSyncs spares the disk a copy that is removed in a moment: etcd's first
// commit would write all of it out. As a setting of the environment, which an etcd
// that does not know it only warns of.
const withoutSyncs = "ETCD_UNSAFE_NO_FSYNC=true"

var errEnded = errors.New("the process ended")

func trialArgs(dataDir, walDir, client, peer string) []string {
	const name = "requorum-trial"
	args := []string{
		"--name", name, "--data-dir", dataDir, "--force-new-cluster",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", name + "=" + peer,
		"--quota-backend-bytes", "-1", // none: the member's own is larger than the default where it has to be
		"--logger", "zap", "--log-outputs", "stderr", "--log-level", "info",
	}
	if walDir != "" {
		args = append(args, "--wal-dir", walDir)
	}
	return args
}

// freePorts returns two URLs of 127.0.0.1 that nobody listens on now.
func freePorts() (client, peer string, err error) {
	var urls [2]string
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer l.Close()
		urls[i] = "http://" + l.Addr().String()
	}
	return urls[0], urls[1], nil
}

// readTrial reads what the copy's etcd serves.
func readTrial(ctx context.Context, t TrialRequest, url string, tell func(string, int64, int64)) (TrialResult, error) {
	var res TrialResult
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop(), DialTimeout: 2 * time.Second})
	if err != nil {
		return res, err
	}
	defer cli.Close()
	if err := waitReadable(ctx, cli); err != nil {
		return res, err
	}
	tell("reading the copy", 2, 4)
	ctx, cancel := context.WithTimeout(ctx, trialRead)
	defer cancel()
	// Users' keys are never empty; a revision bump leaves one that is.
	count, err := cli.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		return res, fmt.Errorf("counting keys: %w", err)
	}
	res.Revision, res.Keys = count.Header.Revision, int(count.Count)
	if _, err := cli.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithLimit(100)); err != nil {
		return res, fmt.Errorf("reading keys: %w", err)
	}
	status, err := cli.Status(ctx, url)
	if err != nil {
		return res, fmt.Errorf("status: %w", err)
	}
	res.Version = status.Version
	tell("hashing the copy's key space", 3, 4)
	if _, err := cli.HashKV(ctx, url, 0); err != nil {
		return res, fmt.Errorf("hashing the key space: %w", err)
	}
	if err := judge(t, res, status.Errors); err != nil {
		return res, err
	}
	return res, tryWrite(ctx, cli)
}

// tryWrite writes a key to the copy, reads it and takes it away: here alone a write can
// be tried that reaches nobody's data.
func tryWrite(ctx context.Context, cli *clientv3.Client) error {
	const key, value = "requorum-trial", "written"
	if _, err := cli.Put(ctx, key, value); err != nil {
		return fmt.Errorf("it is read, and takes no write: %w", err)
	}
	got, err := cli.Get(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("reading what was written: %w", err)
	case len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value:
		return errors.New("what was written is not what is read")
	}
	if _, err := cli.Delete(ctx, key); err != nil {
		return fmt.Errorf("deleting what was written: %w", err)
	}
	return nil
}

func judge(t TrialRequest, res TrialResult, errs []string) error {
	switch {
	case len(errs) > 0:
		return fmt.Errorf("etcd serves with errors: %s", strings.Join(errs, "; "))
	case res.Revision < t.Revision:
		return fmt.Errorf("etcd serves revision %d, and %d was restored", res.Revision, t.Revision)
	case t.Keys >= 0 && res.Keys != t.Keys:
		return fmt.Errorf("etcd serves %d keys, and %d were restored", res.Keys, t.Keys)
	}
	return nil
}

// waitReadable waits for a linearizable read.
func waitReadable(ctx context.Context, cli *clientv3.Client) error {
	limit, cancel := context.WithTimeout(ctx, trialStart)
	defer cancel()
	var last error
	for {
		try, stop := context.WithTimeout(limit, 2*time.Second)
		_, err := cli.Get(try, "requorum-trial", clientv3.WithCountOnly())
		stop()
		if err == nil {
			return nil
		}
		if limit.Err() == nil {
			last = err
		}
		select {
		case <-limit.Done():
			if cause := context.Cause(ctx); cause != nil {
				return fmt.Errorf("it was never readable: %w", cause)
			}
			return fmt.Errorf("it was not readable within %v: %v", trialStart, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
