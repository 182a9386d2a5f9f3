package rescue

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Living is a cluster that serves, as it tells of itself, and as its machines do.
type Living struct {
	Name string // that the file gives it; "" for the one that requorum knows it by
	ID   string
	From string // the addresses that it was asked at
	// Members are those of its own list.
	Members []LivingMember
}

// LivingMember is a member of its list.
type LivingMember struct {
	planner.ListedMember
	Version string // "" where it did not answer
	// Address is the machine's, from the peer URL; "" for this one. SSH is how it is
	// reached; nil for the user's own configuration.
	Address string
	SSH     *spec.SSH
	// Disk is what lies and runs there; nil where it could not be looked at, for Why.
	Disk *Disk
	Why  string
}

// Import makes the file of a cluster that serves: what its members run with stays theirs,
// so that only what cannot be guessed is in it, and no setting that may be a secret.
func Import(l Living) *File {
	f := &File{living: true, from: l.From, Cluster: &spec.Cluster{Name: or(l.Name, knownAs(l.Members)), ID: l.ID}}
	list := slices.Clone(l.Members)
	slices.SortStableFunc(list, func(x, y LivingMember) int { return strings.Compare(x.Name+" "+x.ID, y.Name+" "+y.ID) })
	taken := map[string]bool{}
	unique := func(name, id string) string {
		if taken[name] {
			name += "-" + id
		}
		taken[name] = true
		return name
	}
	for _, m := range list {
		if m.Disk == nil {
			f.Missing = append(f.Missing, Missing{ListedMember: m.ListedMember, why: m.Why})
			continue
		}
		out := f.member(*m.Disk, m.ListedMember, unique)
		if h, ok := hostBlock(m, out.Name); ok {
			out.Host = h.Name
			f.Cluster.Hosts = append(f.Cluster.Hosts, h)
		}
		f.Cluster.Members = append(f.Cluster.Members, out)
	}
	f.runs(list)
	return f
}

// knownAs is the name by which requorum runs the members already.
func knownAs(list []LivingMember) string {
	for _, m := range list {
		if m.Disk != nil && m.Disk.Service.Known() && m.Disk.Service.Value.Cluster != "" {
			return m.Disk.Service.Value.Cluster
		}
	}
	return "imported"
}

// unitPrefix is before a unit's name where a process's keeper is told.
const unitPrefix = "the systemd unit "

// UnitOf is the systemd unit that keeps a process; "" for none.
func UnitOf(p *planner.Foreign) string {
	if p == nil {
		return ""
	}
	unit, ok := strings.CutPrefix(p.Keeper, unitPrefix)
	if !ok {
		return ""
	}
	return unit
}

// hostBlock is the member's machine and its service; false where the defaults do.
func hostBlock(m LivingMember, name string) (spec.Host, bool) {
	h := spec.Host{Name: name, Address: m.Address, Access: spec.AccessSSH, SSH: m.SSH}
	unit := UnitOf(m.Disk.Process)
	if s := m.Disk.Service; s.Known() && s.Value.Unit != nil {
		unit = s.Value.Unit.Name
	}
	if unit != "" {
		h.Service = spec.Service{Kind: spec.ServiceSystemd, Unit: unit}
	}
	if m.Address == "" {
		h.Address, h.Access = "127.0.0.1", spec.AccessLocal
		return h, unit != ""
	}
	if h.SSH == nil {
		h.SSH = &spec.SSH{}
	}
	return h, true
}

// runs is the etcd that all of them run, where it is one.
func (f *File) runs(list []LivingMember) {
	minors, binaries := map[string]bool{}, map[string]bool{}
	for _, m := range list {
		if parts := strings.SplitN(m.Version, ".", 3); len(parts) == 3 {
			minors[parts[0]+"."+parts[1]] = true
			f.Cluster.Etcd.Version = parts[0] + "." + parts[1]
		}
		if m.Disk != nil {
			path := ""
			if p := m.Disk.Process; p != nil && base(p.Exe) == "etcd" {
				path = p.Exe
			} else if s := m.Disk.Service; s.Known() && strings.HasPrefix(s.Value.Binary, "/") {
				path = s.Value.Binary
			}
			binaries[path] = true
			f.Cluster.Etcd.Binary = path
		}
	}
	if len(minors) > 1 {
		f.Cluster.Etcd.Version = ""
		f.Gaps = append(f.Gaps, "version: the members run more than one minor: finish that upgrade first")
	}
	if len(binaries) > 1 {
		f.Cluster.Etcd.Binary = ""
		f.Gaps = append(f.Gaps, "binary: the members run different ones, and the file has one for all")
	}
}

func (w *writer) hosts(list []spec.Host) {
	for _, h := range list {
		w.line(fmt.Sprintf("host %s {", quote(h.Name)))
		w.attribute("  ", "address", h.Address)
		if h.SSH != nil {
			w.line("  ssh {")
			w.attribute("    ", "user", h.SSH.User)
			w.line("  }")
		}
		if h.Service.Unit != "" {
			w.line("  service \"systemd\" {")
			w.attribute("    ", "unit", h.Service.Unit)
			w.line("  }")
		}
		w.line("}")
		w.line("")
	}
}

// livingHead says where the file comes from.
func (w *writer) livingHead(f *File) {
	w.comment("Written by requorum import from the cluster at " + f.from + ".")
	w.line("# Settings of etcd's that do not stand here stay as the members have them.")
	for _, m := range f.Missing {
		w.line("#")
		w.comment(fmt.Sprintf("%s could not be looked at (%s): its data_dir is to be filled in.", nameOf(m.ListedMember), or(m.why, "nothing runs there that says it is this member")))
	}
	for _, g := range f.Gaps {
		w.line("#")
		w.comment("To be looked at: " + g)
	}
	w.line("")
}
