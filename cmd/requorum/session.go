package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/hosts"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/executor/observe"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
)

const (
	endpointLimit = 3 * time.Second
	kvLimit       = 30 * time.Second
	// hostLimit is how long a host may say nothing while it is connected to.
	hostLimit = 10 * time.Second
)

// session is one verb's view of one cluster.
type session struct {
	cluster  *spec.Cluster
	host     *hosts.Hosts
	observer *observe.Observer
	stateDir string
	// What a plan needs of the world, made once, so that planning again over
	// the same facts gives the same plan.
	token, now, by string
	accept         map[planner.Consent]bool
	seen           planner.Observation // the last one, at seenAt
	seenAt         time.Time
	keyNote        string        // why the cluster's own lock could not be had
	holder         host.Holder   // of the locks, once they are taken
	lines          *lines        // for programs; nil for verbs that change nothing
	after          *planner.Plan // of how things stood after a run; nil for none
	saved          *savedRun     // where a saved plan is applied; nil elsewhere
}

// open reads the file and gets ready to look. Its errors are exits: diagnostics
// are already printed.
func open(cmd *cobra.Command, o *options, path string) (*session, error) {
	cluster, err := loadCluster(cmd, o, path)
	if err != nil {
		return nil, err
	}
	s := &session{cluster: cluster, host: hosts.New(cluster, hosts.Options{
		Version: version, NoInstall: o.noInstall, Limit: hostLimit,
		Placed: func(host, path string) {
			fmt.Fprintf(cmd.ErrOrStderr(), "requorum: placed its agent on %s: %s\n", host, path)
		},
	})}
	if s.stateDir, err = journal.Dir(); err != nil {
		return nil, err
	}
	client, err := etcd.NewAccess(cluster)
	if err != nil {
		return nil, err
	}
	client.Socket = s.host.Socket
	peer, err := etcd.NewPeerAccess(cluster)
	if err != nil {
		return nil, err
	}
	if s.token, err = newToken(); err != nil {
		return nil, err
	}
	s.now, s.by = time.Now().UTC().Format(time.RFC3339), operator()
	cache, err := source.CacheDir()
	if err != nil {
		return nil, err
	}
	s.observer = &observe.Observer{
		Cluster: cluster, Host: s.host, Client: client, Peer: peer,
		Limit: endpointLimit, KVLimit: kvLimit, StateDir: s.stateDir, CacheDir: cache,
	}
	return s, nil
}

// look reads the file and looks at everything it names: all that a verb needs
// which changes nothing.
func look(cmd *cobra.Command, o *options, args []string) (planner.Input, error) {
	s, err := open(cmd, o, pathOf(args))
	if err != nil {
		return planner.Input{}, err
	}
	defer s.close()
	return s.observe(cmd.Context())
}

// loadCluster reads the file and prints what is to be said about it to stderr.
func loadCluster(cmd *cobra.Command, o *options, path string) (*spec.Cluster, error) {
	if o.saved != nil {
		return o.saved.Inputs.Configuration, nil
	}
	if isSaved(path) {
		return nil, fmt.Errorf("%s is a saved plan: requorum show %s shows it, requorum apply %s carries it out", path, path, path)
	}
	r := load.Load(path, load.Options{Vars: o.vars, VarFiles: o.varFiles, Env: os.LookupEnv, AsDir: o.asDir})
	if len(r.Diags) > 0 {
		if err := load.WriteDiagnostics(cmd.ErrOrStderr(), r, uint(widthOf(os.Stderr)), isTerminal(os.Stderr) && !o.noColor && os.Getenv("NO_COLOR") == ""); err != nil {
			return nil, err
		}
	}
	if r.Cluster == nil {
		return nil, exitWith(exitError, nil)
	}
	o.ephemeral = ephemeralOf(r)
	var err error
	r.Cluster.Policy, err = o.stricter(cmd, r.Cluster.Policy)
	return r.Cluster, err
}

// newToken is a fresh random cluster token (promise 4).
func newToken() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("no randomness for a cluster token: %w", err)
	}
	return "requorum-" + hex.EncodeToString(b), nil
}

// operator is user@host and the version of requorum, for locks and journals.
func operator() string {
	name := "uid " + fmt.Sprint(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown host"
	}
	return name + "@" + hostname
}

// observe looks at everything the file names.
func (s *session) observe(ctx context.Context) (planner.Input, error) {
	in := planner.Input{Cluster: s.cluster, Token: s.token, Now: s.now, By: s.by, Accept: s.accept}
	began := time.Now()
	obs, err := s.observer.Observe(ctx)
	in.Observation = obs
	defer func() { s.seen, s.seenAt = in.Observation, began }()
	if err != nil || planner.New(in).Route != planner.RouteRecover {
		return in, err
	}
	// The plan would fence members and copy one of their disks. It is made again
	// over what a whole reading of these disks says.
	return in, s.observer.Prove(ctx, &in.Observation)
}

// close ends the connections to other machines.
func (s *session) close() { _ = s.host.Close() }

func (s *session) places() []planner.Place {
	var out []planner.Place
	for _, m := range s.cluster.Members {
		out = append(out, planner.PlaceOf(s.cluster, m))
	}
	return out
}

// lock takes every member's lock that can be reached, of a majority of the voters at
// least, or exits with 5 naming who has one.
func (s *session) lock(ctx context.Context, operation string) (host.Lock, error) {
	s.holder = host.Holder{
		Who: s.by, PID: os.Getpid(), Operation: operation, Cluster: s.cluster.Name,
		Since: time.Now().UTC().Format(time.RFC3339),
	}
	l, err := s.host.Lock(ctx, s.places(), s.holder)
	var locked *host.LockedError
	if errors.As(err, &locked) {
		return nil, exitWith(exitLocked, err)
	}
	return l, err
}
