// Package ports gives tests ports of 127.0.0.1 that no other test takes meanwhile. It is
// apart from the harness for the packages that the harness itself needs.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The range that ports are taken from: below the ephemeral ports, so that no
// outgoing connection gets one by chance.
const (
	firstPort = 12000
	lastPort  = 32000
)

// Ports are reserved until Release.
type Ports struct {
	Numbers []int
	held    []net.Listener
}

// Reserve finds n ports of 127.0.0.1 that are free and that nobody else has
// reserved. The reservation is an abstract Unix socket: the kernel keeps it, it
// ends with its process, and it leaves no file.
func Reserve(n int) (*Ports, error) {
	p := &Ports{}
	for try := 0; len(p.Numbers) < n; try++ {
		if try == 5000 {
			p.Release()
			return nil, errors.New("no free ports")
		}
		p.try(firstPort + rand.IntN(lastPort-firstPort))
	}
	return p, nil
}

func (p *Ports) try(port int) {
	hold, err := net.Listen("unix", fmt.Sprintf("@requorum-test-port-%d", port))
	if err != nil {
		return
	}
	if !portFree(port) {
		hold.Close()
		return
	}
	p.Numbers = append(p.Numbers, port)
	p.held = append(p.held, hold)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// URL is the i-th port as an http URL.
func (p *Ports) URL(i int) string { return fmt.Sprintf("http://127.0.0.1:%d", p.Numbers[i]) }

// Release gives the ports up.
func (p *Ports) Release() {
	for _, l := range p.held {
		l.Close()
	}
}

// Free is a port that is the test's until it ends, for an etcd that gives its port back
// and takes it again, say.
func Free(t testing.TB) int {
	t.Helper()
	p, err := Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p.Numbers[0]
}
