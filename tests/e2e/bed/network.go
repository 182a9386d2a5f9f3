package bed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// namespaces are network namespaces, named so that a person can look into them:
// `ip netns exec requorum-bed-1-ctl …`.
func namespace(number int, name string) string {
	return fmt.Sprintf("requorum-bed-%d-%s", number, name)
}

const (
	netnsDir = "/run/netns"
	// switchName is the namespace of the bridge that all ports are on; a port has
	// its node's name.
	switchName = "net"
	// Controller is the name of the controller, as Cut and Partition take it.
	Controller = "ctl"
)

// removeNetworks takes away the namespaces of a bed.
func removeNetworks(ctx context.Context, number int) error {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), namespace(number, "")) {
			_, gone := run(ctx, "ip", "netns", "delete", e.Name())
			err = errors.Join(err, gone)
		}
	}
	return err
}

func (b *Bed) address(last int) string { return fmt.Sprintf("10.77.%d.%d", b.claim.number, last) }

// makeNetworks makes a bridge in a namespace of its own, and a namespace on one of
// its ports for the controller and each host. There is no route out of it.
func (b *Bed) makeNetworks(ctx context.Context) error {
	n := b.claim.number
	nodes := map[string]string{Controller: b.address(2)}
	for _, h := range b.hosts {
		nodes[h.Name] = h.Address
	}
	var script strings.Builder
	sw := namespace(n, switchName)
	fmt.Fprintf(&script, "ip netns add %[1]s\nip -n %[1]s link add br0 type bridge\nip -n %[1]s link set br0 up\n", sw)
	for name, address := range nodes {
		fmt.Fprintf(&script, `ip netns add %[1]s
ip -n %[2]s link add %[3]s type veth peer name eth0 netns %[1]s
ip -n %[2]s link set %[3]s master br0 up
ip -n %[1]s address add %[4]s/24 dev eth0
ip -n %[1]s link set lo up
ip -n %[1]s link set eth0 up
`, namespace(n, name), sw, name, address)
	}
	_, err := runWith(ctx, script.String(), "sh", "-e")
	return err
}

// inNet runs a program of the machine's in the namespace of a node.
func (b *Bed) inNet(ctx context.Context, node, stdin, name string, args ...string) error {
	full, err := look(name)
	if err != nil {
		return err
	}
	_, err = runWith(ctx, stdin, "nsenter", append([]string{"--net=" + filepath.Join(netnsDir, namespace(b.claim.number, node)), "--", full}, args...)...)
	return err
}

// plug puts the cable of a node in, or pulls it.
func (b *Bed) plug(ctx context.Context, node string, in bool) error {
	state := "down"
	if in {
		state = "up"
	}
	_, err := run(ctx, "ip", "-n", namespace(b.claim.number, switchName), "link", "set", node, state)
	return err
}

// way is a direction from one node to another.
type way struct{ from, to string }

// Cut drops all that one node sends to another from now on; the other direction
// stays as it is. Nodes are names of hosts, or Controller.
func (b *Bed) Cut(from, to string) {
	b.t.Helper()
	b.drop(way{from, to})
}

// Partition drops all that the nodes of one side send to those of the other, both
// ways. Cuts add up until Heal.
func (b *Bed) Partition(one, other []string) {
	b.t.Helper()
	var ways []way
	for _, x := range one {
		for _, y := range other {
			ways = append(ways, way{x, y}, way{y, x})
		}
	}
	b.drop(ways...)
}

// Isolate cuts a node off from all others, the controller too.
func (b *Bed) Isolate(node string) {
	b.t.Helper()
	b.Partition([]string{node}, slices.DeleteFunc(b.nodes(), func(n string) bool { return n == node }))
}

// Heal undoes every Cut, Partition and Isolate.
func (b *Bed) Heal() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cuts = nil
	b.must(b.applyCuts())
}

func (b *Bed) nodes() []string {
	out := []string{Controller}
	for _, h := range b.hosts {
		out = append(out, h.Name)
	}
	return out
}

func (b *Bed) drop(ways ...way) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range ways {
		for _, n := range []string{w.from, w.to} {
			if !slices.Contains(b.nodes(), n) {
				b.t.Fatalf("there is no node %q: %v", n, b.nodes())
			}
		}
		if !slices.Contains(b.cuts, w) {
			b.cuts = append(b.cuts, w)
		}
	}
	b.must(b.applyCuts())
}

// applyCuts has the bridge drop what is cut, in one step.
func (b *Bed) applyCuts() error {
	var rules strings.Builder
	rules.WriteString("table bridge bed\ndelete table bridge bed\n")
	if len(b.cuts) > 0 {
		rules.WriteString("table bridge bed {\nchain cuts {\ntype filter hook forward priority 0\n")
		for _, w := range b.cuts {
			fmt.Fprintf(&rules, "iifname %q oifname %q counter drop\n", w.from, w.to)
		}
		rules.WriteString("}\n}\n")
	}
	return b.inNet(b.ctx, switchName, rules.String(), "nft", "-f", "-")
}

// SlowLink bounds what a node sends and gets to a rate, as tc names them ("8mbit");
// "" is no bound.
func (b *Bed) SlowLink(node, rate string) {
	b.t.Helper()
	for _, end := range []struct{ node, dev string }{{switchName, node}, {node, "eth0"}} {
		args := []string{"qdisc", "replace", "dev", end.dev, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms"}
		if rate == "" {
			args = []string{"qdisc", "delete", "dev", end.dev, "root"}
		}
		b.must(b.inNet(b.ctx, end.node, "", "tc", args...))
	}
}
