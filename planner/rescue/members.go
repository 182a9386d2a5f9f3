package rescue

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// build fills the file in from the disks, the best first, from the places whose data
// is gone, and from the list.
func (f *File) build(disks, lost []Disk, list []planner.ListedMember, addresses []string) {
	byID := map[string]Disk{}
	for _, d := range disks {
		byID[d.dir().MemberID] = d
		f.leaveAside(d)
		if !slices.ContainsFunc(list, func(l planner.ListedMember) bool { return l.ID == d.dir().MemberID }) {
			f.Left = append(f.Left, fmt.Sprintf("%s is of member %s, which the cluster has removed (%s); keep it", d.DataDir, d.dir().MemberID, last(d)))
		}
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y planner.ListedMember) int {
		return strings.Compare(x.Name+" "+x.ID, y.Name+" "+y.ID)
	})
	places := map[string]string{} // a survivor's directory by its name
	for _, l := range list {
		if d, ok := byID[l.ID]; ok && l.Name != "" {
			places[l.Name] = d.DataDir
		}
	}
	taken := map[string]bool{}
	unique := func(name, id string) string {
		if taken[name] {
			name += "-" + id
		}
		taken[name] = true
		return name
	}
	for _, l := range list {
		if d, ok := byID[l.ID]; ok {
			f.Cluster.Members = append(f.Cluster.Members, f.member(d, l, unique))
			continue
		}
		m := Missing{ListedMember: l}
		if d, ok := placeOf(l, lost); ok {
			m.DataDir, m.Known = d.DataDir, true
			f.Cluster.Members = append(f.Cluster.Members, f.member(d, l, unique))
		} else if l.Name != "" && len(l.ClientURLs) > 0 && here(l.PeerURLs, addresses) {
			m.DataDir = sibling(l.Name, places)
		}
		if m.DataDir != "" && !m.Known {
			f.Cluster.Members = append(f.Cluster.Members, f.member(Disk{DataDir: m.DataDir}, l, unique))
		}
		f.Missing = append(f.Missing, m)
	}
	for _, d := range disks {
		for _, m := range f.Cluster.Members {
			if m.DataDir == d.DataDir {
				f.Survivors = append(f.Survivors, Survivor{Name: m.Name, DataDir: d.DataDir, Last: last(d), Note: note(d, m.Learner)})
			}
		}
	}
	f.certificates(disks)
	f.version(disks)
}

// member is the one on this disk, as the list has it and as its etcd was started.
func (f *File) member(d Disk, l planner.ListedMember, unique func(name, id string) string) spec.Member {
	s := d.Settings()
	m := spec.Member{
		Name: l.Name, PeerURLs: slices.Clone(l.PeerURLs), ClientURLs: slices.Clone(l.ClientURLs),
		DataDir: d.DataDir, WALDir: d.WALDir, Learner: l.Learner,
	}
	if m.Name == "" { // it has never told the cluster
		m.Name = or(s["name"], base(d.DataDir))
	}
	m.Name = unique(m.Name, l.ID)
	if len(m.ClientURLs) == 0 {
		m.ClientURLs = urls(s["advertise-client-urls"])
	}
	return f.bound(m, s)
}

// bound adds the addresses to listen on, where they are not those advertised: as
// the settings say, or all where a name is advertised and nothing says it.
func (f *File) bound(m spec.Member, s map[string]string) spec.Member {
	one := func(flag, attribute string, advertised []string) []string {
		var listen []string
		for _, u := range urls(s[flag]) {
			if scheme, _, _ := strings.Cut(u, "://"); scheme != "http" && scheme != "https" {
				f.unsayable(m, fmt.Sprintf("a %s:// address in --%s", scheme, flag))
				continue
			}
			listen = append(listen, u)
		}
		switch {
		case len(listen) > 0 && !planner.SameURLs(listen, advertised):
			return listen
		case len(listen) > 0 || !slices.ContainsFunc(advertised, named):
			return nil
		}
		for _, u := range advertised {
			if port := u[strings.LastIndex(u, ":")+1:]; !slices.Contains(listen, everywhere(u, port)) {
				listen = append(listen, everywhere(u, port))
			}
		}
		f.Gaps = append(f.Gaps, fmt.Sprintf("%s of %s is a guess: it advertises a name, and etcd listens on addresses only", attribute, m.Name))
		return listen
	}
	m.ListenPeerURLs = one("listen-peer-urls", "listen_peer_urls", m.PeerURLs)
	m.ListenClientURLs = one("listen-client-urls", "listen_client_urls", m.ClientURLs)
	if len(m.ClientURLs) == 0 {
		f.Gaps = append(f.Gaps, fmt.Sprintf("client_urls of %s: nothing here tells it", m.Name))
	}
	for _, flag := range planner.Unsayable(s) {
		f.unsayable(m, flag)
	}
	return m
}

// unsayable notes what the member has and the file can't give it.
func (f *File) unsayable(m spec.Member, what string) {
	f.Gaps = append(f.Gaps, fmt.Sprintf("%s has %s, which can't be said in the file: an apply starts it anew without it", m.Name, what))
}

// certificates are those of an etcd that runs, or ran, here.
func (f *File) certificates(disks []Disk) {
	secure := false
	for _, m := range f.Cluster.Members {
		for _, u := range slices.Concat(m.PeerURLs, m.ClientURLs) {
			secure = secure || strings.HasPrefix(u, "https://")
		}
	}
	if !secure {
		return
	}
	for _, d := range disks {
		s := d.Settings()
		pair := func(prefix string) *spec.KeyPair {
			k := &spec.KeyPair{CA: s[prefix+"trusted-ca-file"], Cert: s[prefix+"cert-file"], Key: s[prefix+"key-file"]}
			if k.Cert == "" || k.Key == "" {
				return nil
			}
			return k
		}
		if client, peer := pair(""), pair("peer-"); client != nil || peer != nil {
			f.Cluster.TLS = &spec.TLS{Client: client, Peer: peer}
			f.Gaps = append(f.Gaps, "tls { requorum { … } }: the CA, and the certificate and key where one is asked for, that requorum shows to the members")
			return
		}
	}
	f.Gaps = append(f.Gaps, "tls { … }: the addresses are https, and nothing here tells the certificates")
}

// version is the minor that wrote the newest data: it is what must open it.
func (f *File) version(disks []Disk) {
	d := disks[0].dir()
	for _, v := range []string{d.StorageVersion, d.ClusterVersion} {
		parts := strings.SplitN(v, ".", 3)
		if len(parts) >= 2 && parts[0] == "3" && parts[1] != "0" {
			f.Cluster.Etcd.Version = "3." + parts[1]
			break
		}
	}
	for _, d := range disks {
		if d.Process != nil && base(d.Process.Exe) == "etcd" {
			f.Cluster.Etcd.Binary = d.Process.Exe
			return
		}
		if d.Service.Known() && strings.HasPrefix(d.Service.Value.Binary, "/") {
			f.Cluster.Etcd.Binary = d.Service.Value.Binary
			return
		}
	}
}

func last(d Disk) string {
	return fmt.Sprintf("log to term %d #%d", d.dir().LastTerm, d.dir().LastIndex)
}

func note(d Disk, learner bool) string {
	var out []string
	if learner {
		out = append(out, "a learner")
	}
	switch {
	case d.Data.Value.State == planner.DirFenced:
		out = append(out, "behind requorum's fence")
	case d.Data.Value.HeldBy != 0:
		out = append(out, "an etcd runs on it")
	}
	if p := d.dir().Problem; p != "" {
		out = append(out, p)
	}
	return strings.Join(out, ", ")
}

// placeOf is the place where requorum ran the member before its data went.
func placeOf(l planner.ListedMember, lost []Disk) (Disk, bool) {
	for _, d := range lost {
		gone := d.Data.Known() && (d.Data.Value.State == planner.DirAbsent || d.Data.Value.State == planner.DirEmpty)
		if gone && planner.SameURLs(urls(d.Settings()["initial-advertise-peer-urls"]), l.PeerURLs) {
			return d, true
		}
	}
	return Disk{}, false
}

// sibling is where a member of that name would have its data, by the example of the
// members beside it: "" where they are no example, or differ.
func sibling(name string, places map[string]string) string {
	out := ""
	for other, dir := range places {
		parts := strings.Split(dir, "/")
		n := 0
		for i, p := range parts {
			if p == other {
				parts[i] = name
				n++
			}
		}
		at := strings.Join(parts, "/")
		if n != 1 || out != "" && out != at {
			return ""
		}
		out = at
	}
	return out
}

// here reports whether all the URLs are of this machine.
func here(list, addresses []string) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(u string) bool {
		h := hostOf(u)
		return h != "localhost" && h != "::1" && !(strings.HasPrefix(h, "127.") && !named(u)) && !slices.Contains(addresses, h)
	})
}

// hostOf is the host of a URL, without a port.
func hostOf(u string) string {
	_, rest, _ := strings.Cut(u, "://")
	if in, _, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]"); ok {
		return in
	}
	h, _, _ := strings.Cut(rest, ":")
	return h
}

// named reports whether a URL has a name instead of an address.
func named(u string) bool {
	h := hostOf(u)
	return !strings.Contains(h, ":") && strings.Trim(h, "0123456789.") != ""
}

func everywhere(u, port string) string {
	scheme, _, _ := strings.Cut(u, "://")
	return scheme + "://0.0.0.0:" + port
}

func urls(list string) []string {
	var out []string
	for _, u := range strings.Split(list, ",") {
		if u = strings.TrimSpace(u); u != "" {
			out = append(out, u)
		}
	}
	return out
}

func base(path string) string {
	return path[strings.LastIndex(strings.TrimRight(path, "/"), "/")+1:]
}
