package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
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

// ReservePorts finds n ports of 127.0.0.1 that are free and that nobody else has
// reserved. The reservation is an abstract Unix socket: the kernel keeps it, it
// ends with its process, and it leaves no file.
func ReservePorts(n int) (*Ports, error) {
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
