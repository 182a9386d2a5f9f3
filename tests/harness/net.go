package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// Net is a network of its own (a network namespace): a loopback device, some
// addresses on it, and no way out or in. It is gone as soon as the test and the
// last process in it are.
type Net struct {
	file *os.File
	// within are the addresses that are reached through it, where no network is named.
	within netip.Prefix
}

// Net makes a network with these IPv4 addresses beside 127.0.0.1. It needs root,
// as the README says.
func (e *Env) Net(addresses ...string) *Net {
	e.t.Helper()
	n := &Net{}
	err := lockedThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("a network namespace (are you root?): %w", err)
		}
		n.file, err = os.Open(threadNet())
		return errors.Join(err, loopbackUp(addresses))
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { n.file.Close() })
	return n
}

// OpenNet is a network that somebody else made, by the path of its namespace. Until
// Close, whatever of this package dials an address of prefix does so in there.
func OpenNet(path, prefix string) (*Net, error) {
	within, err := netip.ParsePrefix(prefix)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	n := &Net{file: file, within: within}
	opened.Lock()
	defer opened.Unlock()
	opened.nets = append(opened.nets, n)
	return n, nil
}

// Close lets go of a network of OpenNet.
func (n *Net) Close() {
	opened.Lock()
	defer opened.Unlock()
	opened.nets = slices.DeleteFunc(opened.nets, func(o *Net) bool { return o == n })
	n.file.Close()
}

var opened struct {
	sync.Mutex
	nets []*Net
}

// netOf is the opened network that an endpoint is in; nil for this machine's.
func netOf(endpoint string) *Net {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil
	}
	address, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil
	}
	opened.Lock()
	defer opened.Unlock()
	for _, n := range opened.nets {
		if n.within.Contains(address) {
			return n
		}
	}
	return nil
}

func threadNet() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }

// lockedThread runs f on a thread that may change its network, and brings the
// thread back to the one it was in.
func lockedThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open(threadNet())
	if err != nil {
		return err
	}
	defer home.Close()
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // this thread must not be given to anybody
	}
	return err
}

// loopbackUp switches the loopback device on and gives it addresses.
func loopbackUp(addresses []string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for i, a := range append([]string{"127.0.0.1"}, addresses...) {
		name := "lo"
		if i > 0 {
			name = fmt.Sprintf("lo:%d", i)
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			err = req.SetInet4Addr(net.ParseIP(a).To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(s, unix.SIOCSIFADDR, req)
		}
		if err == nil && i > 0 {
			// Without this an address of 10.0.0.0/8 takes all of that network.
			err = req.SetInet4Addr(net.IPv4bcast.To4())
			if err == nil {
				err = unix.IoctlIfreq(s, unix.SIOCSIFNETMASK, req)
			}
		}
		if err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	req, err := unix.NewIfreq("lo")
	if err == nil {
		req.SetUint16(unix.IFF_UP)
		err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
	}
	return err
}

// Do runs f in the network: processes that it starts and sockets that it opens
// are there. A nil Net is this machine's own.
func (n *Net) Do(f func() error) error {
	if n == nil {
		return f()
	}
	return lockedThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// Dial gives a client of endpoints in the network.
func (n *Net) Dial(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(n.config(endpoints))
}

// config is a client's, without a word on stderr.
func (n *Net) config(endpoints []string) clientv3.Config {
	cfg := clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	if len(endpoints) > 0 && strings.HasPrefix(endpoints[0], "https://") {
		cfg.TLS = clientTLS()
	}
	if n == nil && len(endpoints) > 0 {
		n = netOf(endpoints[0])
	}
	if n != nil {
		cfg.DialOptions = []grpc.DialOption{grpc.WithContextDialer(n.dial)}
		if n.within.IsValid() {
			// A host without power sends no reset: without this a connection to it
			// stands for a quarter of an hour.
			cfg.DialKeepAliveTime, cfg.DialKeepAliveTimeout = 10*time.Second, 2*time.Second
		}
	}
	return cfg
}

func (n *Net) dial(ctx context.Context, address string) (conn net.Conn, err error) {
	address = strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://")
	err = n.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp4", address)
		return err
	})
	return conn, err
}

// RunIn is Run in a network.
func (e *Env) RunIn(n *Net, args ...string) Result {
	e.t.Helper()
	return e.finish(n, e.Command(args...), "")
}

// start starts cmd in the network. What it is killed with when its parent ends
// would come when this thread does, so nothing is.
func (n *Net) start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// FD is the network's namespace, for tools that work on one.
func (n *Net) FD() int { return int(n.file.Fd()) }
