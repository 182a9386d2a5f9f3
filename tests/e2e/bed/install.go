package bed

import (
	"fmt"
	"strings"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// Style is how somebody told an etcd its settings.
type Style string

// The styles that people use.
const (
	// Packaged is Debian's own package: its unit, and /etc/default/etcd.
	Packaged Style = "packaged"
	// Flags is a unit of one's own with all flags in ExecStart.
	Flags Style = "flags"
	// Environment is a unit of one's own with an EnvironmentFile.
	Environment Style = "environment"
	// ConfigFile is a unit of one's own with --config-file.
	ConfigFile Style = "config-file"
)

// Styles are all styles.
var Styles = []Style{Packaged, Flags, Environment, ConfigFile}

// Install says how a cluster was set up by hand. The zero value is Debian's package.
type Install struct {
	Style Style
	// Minor is the version; 3.4 for Packaged, else one of the bed's Etcds.
	Minor string
	// Hosts are the names of its members' hosts; all of the bed's where empty.
	Hosts []string
	// DataDir is /var/lib/etcd/default for Packaged, as Debian has it, and
	// /var/lib/etcd else; this one where it is not empty.
	DataDir string
	// Settings are further ones, by the names of etcd's flags.
	Settings map[string]string
}

// Cluster is a cluster of etcds under systemd, which somebody set up by hand.
type Cluster struct {
	Install
	Members []harness.Member

	b *Bed
}

// Unit is its systemd unit on each host.
const Unit = "etcd.service"

// ByHand sets a cluster up on the hosts, starts it and waits until it serves.
func (b *Bed) ByHand(in Install) *Cluster {
	b.t.Helper()
	c := b.Prepare(in)
	c.Start()
	return c
}

// Prepare sets a cluster up and starts nothing.
func (b *Bed) Prepare(in Install) *Cluster {
	b.t.Helper()
	if in.Style == "" {
		in.Style = Packaged
	}
	if in.Minor == "" {
		in.Minor = "3.4"
	}
	if in.DataDir == "" {
		in.DataDir = "/var/lib/etcd"
		if in.Style == Packaged {
			in.DataDir = "/var/lib/etcd/default"
		}
	}
	c := &Cluster{Install: in, b: b}
	for _, h := range b.named(in.Hosts) {
		c.Members = append(c.Members, c.member(h))
	}
	for _, m := range c.Members {
		c.write(m)
	}
	return c
}

// settings are those of one member, by the names of etcd's flags.
func (c *Cluster) settings(m harness.Member) [][2]string {
	out := [][2]string{
		{"name", m.Name}, {"data-dir", m.DataDir},
		{"listen-peer-urls", m.Peer}, {"initial-advertise-peer-urls", m.Peer},
		{"listen-client-urls", m.Client + ",http://127.0.0.1:2379"}, {"advertise-client-urls", m.Client},
		{"initial-cluster", harness.InitialCluster(c.Members)}, {"initial-cluster-token", "by-hand"}, {"initial-cluster-state", "new"},
	}
	for name, value := range c.Settings {
		out = append(out, [2]string{name, value})
	}
	return out
}

// write writes a member's settings and unit as its style has them.
func (c *Cluster) write(m harness.Member) {
	h := c.b.Host(m.Name)
	var flags, env, config strings.Builder
	for _, s := range c.settings(m) {
		fmt.Fprintf(&flags, " \\\n  --%s=%s", s[0], s[1])
		fmt.Fprintf(&env, "ETCD_%s=%q\n", strings.ToUpper(strings.ReplaceAll(s[0], "-", "_")), s[1])
		fmt.Fprintf(&config, "%s: %q\n", s[0], s[1])
	}
	etcd, more := c.Binary(), ""
	switch c.Style {
	case Packaged:
		h.WriteFile("/etc/default/etcd", env.String(), 0o644)
		return
	case Flags:
		etcd += flags.String()
	case Environment:
		h.WriteFile("/etc/etcd.env", env.String(), 0o640)
		more = "EnvironmentFile=/etc/etcd.env\n"
	case ConfigFile:
		h.WriteFile("/etc/etcd/etcd.yaml", config.String(), 0o644)
		etcd += " --config-file=/etc/etcd/etcd.yaml"
	default:
		c.b.t.Fatalf("there is no style %q: %v", c.Style, Styles)
	}
	h.WriteFile("/etc/systemd/system/"+Unit, `[Unit]
Description=etcd
After=network-online.target

[Service]
Type=notify
User=etcd
`+more+`ExecStart=`+etcd+`
Restart=on-failure
RestartSec=5
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`, 0o644)
}

// Start enables and starts the members, all at once, and waits until each serves. It
// was long ago: a power-off takes nothing of it away, as it would of a `systemctl
// enable` that no sync has followed.
func (c *Cluster) Start() {
	c.b.t.Helper()
	ctx, cancel := c.b.limit()
	defer cancel()
	c.b.must(each(c.Hosts(), func(h *Host) error {
		_, err := h.run(ctx, "", "systemctl daemon-reload && systemctl enable --quiet "+Unit+" && systemctl start "+Unit+" && sync")
		return err
	}))
	c.AwaitServing()
}

// AwaitServing waits until each member answers linearizable reads.
func (c *Cluster) AwaitServing() {
	c.b.t.Helper()
	for _, ep := range c.Endpoints() {
		harness.AwaitServing(c.b.t, ep)
	}
}

// RemovePackage takes Debian's etcd from the hosts that are on, with its unit: they are
// machines on which nobody has ever installed it.
func (b *Bed) RemovePackage() {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	b.must(each(b.hosts, func(h *Host) error {
		_, err := h.run(ctx, "", "rm -f /lib/systemd/system/etcd.service /lib/systemd/system/etcd2.service /etc/init.d/etcd /etc/rc?.d/???etcd /etc/default/etcd /usr/bin/etcd && systemctl daemon-reload && sync")
		return err
	}))
}

// Hosts are its members' hosts.
func (c *Cluster) Hosts() []*Host {
	var out []*Host
	for _, m := range c.Members {
		out = append(out, c.b.Host(m.Name))
	}
	return out
}

// Endpoints are its members' client URLs.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, m := range c.Members {
		out = append(out, m.Client)
	}
	return out
}

// Started is when each member's service last started, by the host's own account: it
// changes with a restart, and with nothing else.
func (c *Cluster) Started() map[string]string {
	c.b.t.Helper()
	out := map[string]string{}
	for _, h := range c.Hosts() {
		out[h.Name] = strings.TrimSpace(h.MustRun("systemctl show --value --property=InvocationID,MainPID,ExecMainStartTimestampMonotonic " + Unit))
	}
	return out
}

// Leader is the name of the member that leads.
func (c *Cluster) Leader() string {
	c.b.t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := c.b.limit()
		var i int
		i, err = harness.Leader(ctx, c.Endpoints())
		cancel()
		if err == nil {
			return c.Members[i].Name
		}
	}
	c.b.t.Fatal(err)
	return ""
}
