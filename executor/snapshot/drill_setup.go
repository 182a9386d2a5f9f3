package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// plan names the members, their addresses and directories.
func (d *drill) plan() error {
	ports, err := loopbackPorts(2 * d.Members)
	if err != nil {
		return err
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	token := "requorum-drill-" + hex.EncodeToString(random)
	var initial []string
	var members []spec.Member
	for i := range d.Members {
		m := drillMember{client: ports[2*i], peer: ports[2*i+1]}
		m.Name, m.Token = fmt.Sprintf("drill%d", i+1), token
		m.PeerURLs = []string{m.peer}
		m.OutDataDir = filepath.Join(d.Scratch, m.Name)
		m.MemberID = planner.MemberID(m.PeerURLs, token)
		initial = append(initial, m.Name+"="+m.peer)
		members = append(members, spec.Member{Name: m.Name, PeerURLs: m.PeerURLs})
		d.members = append(d.members, m)
	}
	for i := range d.members {
		d.members[i].InitialCluster = strings.Join(initial, ",")
		d.members[i].ClusterID = planner.ClusterID(members, token)
	}
	return nil
}

// loopbackPorts gives n URLs on 127.0.0.1 that nobody listens on, below the ports
// that the kernel hands out by itself: those may be taken again before etcd is up.
func loopbackPorts(n int) ([]string, error) {
	var urls []string
	for tries := 0; len(urls) < n; tries++ {
		if tries > 200 {
			return nil, errors.New("no free ports on 127.0.0.1")
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+mrand.IntN(12000)))
		if err != nil {
			continue
		}
		defer l.Close() // only when all are found, so that none comes twice
		urls = append(urls, "http://"+l.Addr().String())
	}
	return urls, nil
}

func drillClient(url string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop(), DialTimeout: 2 * time.Second})
}

// openForReading makes a restored throwaway directory readable to the end: leases
// last, authentication is off, no alarm stands (tame says why).
func openForReading(dataDir string) error {
	db, err := bolt.Open(filepath.Join(dataDir, "member", "snap", "db"), 0o600,
		&bolt.Options{Timeout: time.Second, NoFreelistSync: true, NoSync: true})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if err := keepLeases(tx); err != nil {
			return err
		}
		return openDoors(tx)
	})
	return errors.Join(err, db.Close())
}

var versionLine = regexp.MustCompile(`(?m)^etcd Version: (\S+)`)

// etcdVersion asks the binary.
func etcdVersion(ctx context.Context, command []string) (string, error) {
	if len(command) == 0 {
		return "", errors.New("no etcd to run")
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], "--version")...)
	cmd.Env, cmd.WaitDelay = []string{"PATH=" + os.Getenv("PATH")}, time.Second
	out, err := cmd.CombinedOutput()
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1]), nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return "", ctx.Err() // nothing is wrong with the binary
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		return "", refuse(planner.CodeBinaryMissing, "%s --version failed: %v %.100s", command[0], err, first)
	}
	return "", refuse(planner.CodeBinaryMissing, "%s is no etcd: --version says %.100q", command[0], first)
}
