package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host/hosts"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/rescue"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
)

// importer is the import verb.
type importer struct {
	endpoints       []string
	name, user, out string
	ours            []string // this machine's addresses
	noInstall       bool
	placed          func(host, path string)
}

func newImport(o *options) *cobra.Command {
	m := &importer{}
	cmd := &cobra.Command{
		Use:   "import --endpoints URL,…",
		Short: "Write the file for a cluster that serves",
		Long: `Asks a live cluster who its members are, looks at their machines, and writes the file
that requorum plan takes: hosts and their systemd units, addresses, data directories,
the etcd that runs. Members with an address of this machine are looked at here, the
others over ssh, with your own configuration; one that can't be looked at stands there
as a comment, to be filled in.

What etcd was told by flags, an environment file or a configuration file stays its own:
no setting is taken over, and none that may be a secret is written down. The cluster is
changed in nothing. With --out the file is written, never over another, and the plan for
it is shown; for a cluster under systemd that is "nothing to do".

Exit codes: 0 done, 1 error, 6 refused (no file can be made of this).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.run(cmd, o) },
	}
	addHosts(cmd, o)
	cmd.Flags().StringSliceVar(&m.endpoints, "endpoints", nil, "client `URL`s of the cluster; one that answers does")
	cmd.Flags().StringVar(&m.name, "name", "", "what the file calls the cluster: `NAME` (imported, where requorum knows none)")
	cmd.Flags().StringVar(&m.user, "ssh-user", "", "log in to other machines as `USER`, where your ssh configuration does not say it")
	cmd.Flags().StringVar(&m.out, "out", "", "write `FILE` instead of to stdout, and show the plan for it")
	return cmd
}

func (m *importer) run(cmd *cobra.Command, o *options) error {
	if err := m.check(); err != nil {
		return err
	}
	m.ours, m.noInstall = addresses(), o.noInstall
	m.placed = func(host, path string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "requorum: placed its agent on %s: %s\n", host, path)
	}
	seen, err := m.ask(cmd.Context())
	if err != nil {
		return err
	}
	living, err := m.lookAt(cmd.Context(), seen)
	if err != nil {
		return err
	}
	f := rescue.Import(living)
	text, diags := load.Format([]byte(f.Text()), "imported.hcl")
	if diags.HasErrors() {
		return fmt.Errorf("the file can't be written in HCL: %w", diags)
	}
	if m.out == "" {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	if err := create(m.out, text); err != nil {
		return err
	}
	fmt.Printf("Wrote %s.\n", m.out)
	for _, g := range f.Gaps {
		fmt.Println("To be looked at: " + rescue.OneLine(g))
	}
	fmt.Printf("This is what `requorum plan %s` says:\n\n", m.out)
	return (&rescuer{out: m.out}).plan(cmd, o)
}

func (m *importer) check() error {
	if len(m.endpoints) == 0 {
		return errors.New("--endpoints: name a client URL of the cluster, http://HOST:2379")
	}
	for i, e := range m.endpoints {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		u, err := url.Parse(e)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "": // not shown: it may have a password in it
			return errors.New("--endpoints: write http://HOST:2379, and nothing else of a URL")
		case u.Scheme != "http":
			return errors.New("--endpoints: only http:// so far; a cluster that speaks TLS can't be imported by this version")
		}
		m.endpoints[i] = "http://" + u.Host
	}
	if m.out != "" {
		if _, err := os.Lstat(m.out); err == nil {
			return fmt.Errorf("--out: %s is there already, and is not written over", m.out)
		}
	}
	return nil
}

// ask gives the answer of a member that proved to have a quorum, and refuses where two
// clusters answer, or none that lives.
func (m *importer) ask(ctx context.Context) (planner.Endpoint, error) {
	var targets []etcd.Member
	for _, e := range m.endpoints {
		targets = append(targets, etcd.Member{Name: e, URLs: []string{e}})
	}
	var proven *planner.Endpoint
	var silent []string
	ids := map[string]bool{}
	for _, a := range etcd.Ask(ctx, targets, etcd.Access{}, endpointLimit) {
		if a.Reach != planner.ReachServing {
			silent = append(silent, a.Name+" at "+etcd.ReachText(a.Endpoint))
			continue
		}
		ids[a.ClusterID] = true
		if a.Linearizable.Known() && a.Linearizable.Value && a.Members.Known() {
			proven = &a.Endpoint
		} else {
			silent = append(silent, a.Name+": "+a.Linearizable.Why)
		}
	}
	switch {
	case ctx.Err() != nil:
		return planner.Endpoint{}, ctx.Err()
	case len(ids) > 1:
		return planner.Endpoint{}, m.refuse(planner.CodeSplitCluster, "the addresses lead to %d clusters: name those of one", len(ids))
	case proven == nil:
		return planner.Endpoint{}, m.refuse(planner.CodeNoLeader, "no member answers that has a quorum behind it (%s); where the cluster is lost, requorum rescue makes a file from its disks", strings.Join(silent, "; "))
	}
	return *proven, nil
}

func (m *importer) refuse(code planner.Code, text string, args ...any) error {
	return exitWith(exitRefused, fmt.Errorf("%s: %s", code, fmt.Sprintf(text, args...)))
}

// lookAt looks at the machines of all members.
func (m *importer) lookAt(ctx context.Context, seen planner.Endpoint) (rescue.Living, error) {
	out := rescue.Living{Name: m.name, ID: seen.ClusterID, From: strings.Join(m.endpoints, ", ")}
	draft := &spec.Cluster{Name: m.name}
	for i, l := range seen.Members.Value {
		x := rescue.LivingMember{ListedMember: l, Address: m.machine(l)}
		if m.user != "" && x.Address != "" {
			x.SSH = &spec.SSH{User: m.user}
		}
		h := spec.Host{Name: fmt.Sprint("h", i), Address: x.Address, Access: spec.AccessSSH, SSH: x.SSH, Service: spec.Service{Kind: spec.ServiceProcess}}
		if x.Address == "" {
			h.Access = spec.AccessLocal
		}
		draft.Hosts = append(draft.Hosts, h)
		draft.Members = append(draft.Members, spec.Member{Name: l.ID, Host: h.Name})
		out.Members = append(out.Members, x)
	}
	machines := hosts.New(draft, hosts.Options{Version: version, NoInstall: m.noInstall, Limit: hostLimit, Placed: m.placed})
	defer func() { _ = machines.Close() }()
	running := machines.Etcds(ctx)
	var places []planner.Place
	found := map[string]planner.Foreign{}
	for i, l := range seen.Members.Value {
		p, ok := processOf(running, l)
		if ok {
			found[l.ID] = p
			places = append(places, planner.Place{Name: l.ID, Host: draft.Hosts[i].Name, DataDir: p.Settings["data-dir"], WALDir: p.Settings["wal-dir"], Unit: rescue.UnitOf(&p)})
		}
	}
	facts, err := machines.Observe(ctx, places)
	if err != nil {
		return out, err
	}
	versions := m.versions(ctx, seen)
	for i := range out.Members {
		l := &out.Members[i]
		l.Version = versions[l.ID]
		p, ok := found[l.ID]
		f := facts[l.ID]
		switch {
		case !ok:
			l.Why = "no etcd that says to be it was seen on its machine"
		case !f.Data.Known():
			l.Why = f.Data.Why
		case f.Data.Value.MemberID != l.ID || f.Data.Value.ClusterID != seen.ClusterID:
			l.Why = fmt.Sprintf("%s holds member %s of cluster %s", p.Settings["data-dir"], f.Data.Value.MemberID, f.Data.Value.ClusterID)
		default:
			l.Disk = &rescue.Disk{DataDir: p.Settings["data-dir"], WALDir: p.Settings["wal-dir"], Data: f.Data, Service: f.Service, Process: &p}
		}
	}
	return out, nil
}

// versions are those of the members that answer, by ID.
func (m *importer) versions(ctx context.Context, seen planner.Endpoint) map[string]string {
	var targets []etcd.Member
	for _, l := range seen.Members.Value {
		targets = append(targets, etcd.Member{Name: l.ID, URLs: l.ClientURLs})
	}
	out := map[string]string{}
	for _, a := range etcd.Ask(ctx, targets, etcd.Access{}, endpointLimit) {
		if a.Reach == planner.ReachServing {
			out[a.MemberID] = a.Version
		}
	}
	return out
}

// machine is the address of the member's machine by its peer URL; "" for this one.
func (m *importer) machine(l planner.ListedMember) string {
	for _, text := range l.PeerURLs {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		name := u.Hostname()
		if name == "localhost" || strings.HasPrefix(name, "127.") || name == "::1" || slices.Contains(m.ours, name) || thisMachine(name) {
			return ""
		}
		return name
	}
	return ""
}

// processOf is the one process that can be this member, by the addresses that it gives
// clients, or, where none has these, by its name.
func processOf(running []planner.Foreign, l planner.ListedMember) (planner.Foreign, bool) {
	var byURL, byName []planner.Foreign
	for _, p := range running {
		s := p.Settings
		if s["data-dir"] == "" {
			continue
		}
		if len(l.ClientURLs) > 0 && planner.SameURLs(strings.Split(s["advertise-client-urls"], ","), l.ClientURLs) {
			byURL = append(byURL, p)
		}
		if l.Name != "" && s["name"] == l.Name {
			byName = append(byName, p)
		}
	}
	for _, list := range [][]planner.Foreign{byURL, byName} {
		if len(list) == 1 {
			return list[0], true
		}
	}
	return planner.Foreign{}, false
}
