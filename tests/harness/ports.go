package harness

import "github.com/requorum/requorum/tests/ports"

// Ports are reserved until Release.
type Ports = ports.Ports

// ReservePorts finds n ports of 127.0.0.1 that are free and that nobody else has
// reserved.
func ReservePorts(n int) (*Ports, error) { return ports.Reserve(n) }
