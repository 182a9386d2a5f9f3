package hosts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/planner"
)

// Where tells places apart, by whatever name their machine is reached: two who have
// different files get the same for the same place.
func (h *Hosts) Where(p planner.Place) string {
	name := h.key(p.Host)
	at := h.id(name)
	switch x, ok := h.cluster.Host(name); {
	case at != "": // a machine's ID is not for everybody who reads this
		sum := sha256.Sum256([]byte("requorum " + at))
		at = hex.EncodeToString(sum[:8])
	case ok:
		at = x.Address
	default:
		at, _ = os.Hostname()
	}
	return at + ":" + p.DataDir
}

// id tells machines apart; "" where that is not known: of one that was not reached.
func (h *Hosts) id(name string) string {
	if name == "" {
		return agent.Here(h.version).Machine()
	}
	r := h.remote[name]
	if r == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel() // it is connected by now, or was not reached
	hello, err := r.Hello(ctx)
	if err != nil {
		return ""
	}
	return hello.Machine()
}

// shared says of members that lie in the same directory, reached by two names of
// one machine, why nothing can be said of them: each would be taken for the other.
func (h *Hosts) shared(places []planner.Place) map[string]string {
	type dir struct{ machine, path string }
	first := map[dir]planner.Place{}
	out := map[string]string{}
	for _, p := range places {
		id := h.id(h.key(p.Host))
		if id == "" {
			continue
		}
		at := dir{id, p.DataDir}
		other, taken := first[at]
		if !taken {
			first[at] = p
			continue
		}
		why := fmt.Sprintf("the hosts %s and %s are one machine, and there %s is the directory of both %s and %s", hostName(other), hostName(p), p.DataDir, other.Name, p.Name)
		out[other.Name], out[p.Name] = why, why
	}
	return out
}

func hostName(p planner.Place) string {
	if p.Host == "" {
		return "(this machine)"
	}
	return p.Host
}
