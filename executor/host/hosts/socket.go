package hosts

import (
	"context"
	"fmt"
	"net"

	"github.com/requorum/requorum/executor/host/agent"
)

// Socket connects to the socket of a member on one of the file's machines.
func (h *Hosts) Socket(ctx context.Context, machine, path string) (net.Conn, error) {
	if h.key(machine) == "" {
		return agent.DialSocket(ctx, path)
	}
	r := h.remote[machine]
	if r == nil {
		return nil, fmt.Errorf("no way to the sockets of %q", machine)
	}
	return r.Socket(ctx, path)
}
