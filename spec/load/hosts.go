package load

import (
	"net/netip"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/requorum/requorum/spec"
)

var (
	hostSchema = schema("for_each name address ssh{ service{kind")
	sshSchema  = schema("user port command")

	serviceSchemas = map[string]*hcl.BodySchema{
		string(spec.ServiceSystemd): schema("unit!"),
		string(spec.ServiceProcess): schema(""),
		string(spec.ServiceCommand): schema("start! stop! status! user"),
	}
)

// host is a host block with the places of what checks point at.
type host struct {
	spec.Host
	name text
}

// hosts reads all host blocks, each as often as its for_each says.
func (l *loader) hosts(blocks hcl.Blocks, ctx *hcl.EvalContext) []host {
	var list []host
	first := map[string]text{}
	for _, hb := range blocks {
		instances, ok := l.read(hb, hostSchema, ctx).expand(label(hb))
		l.hostsIncomplete = l.hostsIncomplete || !ok
		for _, in := range instances {
			h := l.host(in)
			if f, again := first[h.Name]; again && h.Name != "" {
				l.errorAt(h.name.at, "Duplicate host name", "The host %q is there already, at %s. Each host needs a name of its own.", h.Name, f.at.rng)
				continue
			}
			first[h.Name] = h.name
			list = append(list, h)
		}
	}
	return list
}

func (l *loader) host(in instance) host {
	h := host{name: in.name}
	h.Name = in.name.string
	h.Pos = position(in.rng)
	l.checkName("host", in.name)
	if a := in.text("address"); a.given() && l.checkAddress(a) {
		h.Address = a.string
	}
	if b := in.only("ssh"); b != nil {
		h.SSH = l.ssh(l.read(b, sshSchema, in.ctx))
	}
	h.Service = l.service(in.block)
	switch {
	case h.SSH != nil:
		h.Access = spec.AccessSSH
		if h.Address == "" {
			h.Address = h.Name // a Host of the user's ssh configuration
		}
	case h.Address == "" && !in.has("address"), isLoopback(h.Address):
		h.Access = spec.AccessLocal
	default:
		h.Access = spec.AccessManual
	}
	return h
}

// checkAddress refuses what is not a host name or IP address. An address that
// starts with "-" would reach ssh as an option.
func (l *loader) checkAddress(a text) bool {
	if _, err := netip.ParseAddr(a.string); err == nil {
		return true
	}
	if strings.HasPrefix(a.string, "-") || strings.ContainsFunc(a.string, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("/:@[]", r)
	}) {
		l.errorAt(a.at, "Invalid address", "%q is not a host name or IP address. Write it without scheme, user and port; user and port belong into ssh { }.", a.string)
		return false
	}
	return true
}

func isLoopback(address string) bool {
	if address == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Unmap().IsLoopback()
}

func (l *loader) ssh(b block) *spec.SSH {
	s := &spec.SSH{Pos: position(b.rng)}
	s.User = b.userName()
	if port, ok := b.integer("port", 1, 65535); ok {
		s.Port = int(port)
	}
	s.Command = b.argv("command")
	return s
}

func (b block) userName() string {
	u := b.text("user")
	if !u.given() {
		return ""
	}
	if strings.HasPrefix(u.string, "-") || strings.ContainsFunc(u.string, unicode.IsSpace) {
		b.l.errorAt(u.at, "Invalid user", "%q is not the name of a user.", u.string)
	}
	return u.string
}

// argv gives a command as a list of words.
func (b block) argv(name string) []string {
	if !b.has(name) {
		return nil
	}
	words := b.texts(name)
	if words != nil && len(words) == 0 {
		b.l.errorAt(b.at(name), "Empty value", `%s needs a command and its arguments, each a string of its own: ["sv", "start", "etcd"].`, name)
	}
	for i, w := range words {
		switch {
		case strings.ContainsRune(w.string, 0):
			b.l.errorAt(w.at, "Invalid command", "A word of a command can't have a NUL byte in it.")
		case i == 0 && strings.TrimSpace(w.string) == "", i == 0 && strings.HasPrefix(w.string, "-"):
			b.l.errorAt(w.at, "Invalid command", "%q is no program: the first word is one, with its path or as it is found in PATH.", w.string)
		}
	}
	if secrets := toldSecrets(plain(words)); len(secrets) > 0 {
		for _, s := range secrets {
			b.l.hideText(s)
			for _, w := range words {
				if strings.Contains(w.string, s) {
					b.l.hideText(w.string)
				}
			}
		}
		b.l.errorAt(b.at(name), "Secret in a command", "%s has what looks like a password, a key or a token in it. Plans, journals and the host's list of processes show it to whoever looks: have it read from where it is by a script on the host, in a file for root alone, and name that script here.", name)
		return nil
	}
	return plain(words)
}

func plain(list []text) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.string)
	}
	return out
}

func (l *loader) service(b block) spec.Service {
	s := spec.Service{Kind: spec.ServiceProcess}
	sb := b.only("service")
	if sb == nil {
		return s
	}
	kind := label(sb)
	bodySchema, known := serviceSchemas[kind.string]
	if !known {
		l.errorAt(kind.at, "Unknown kind of service", "There is no service %q.%s", kind.string, didYouMean(kind.string, names(serviceSchemas)))
		return s
	}
	in := l.read(sb, bodySchema, b.ctx)
	s = spec.Service{Kind: spec.ServiceKind(kind.string), Pos: position(sb.DefRange)}
	switch s.Kind {
	case spec.ServiceSystemd:
		s.Unit = l.unit(in.text("unit"))
	case spec.ServiceCommand:
		s.Start, s.Stop, s.Status = in.argv("start"), in.argv("stop"), in.argv("status")
		s.User = in.userName()
	}
	return s
}

// unit gives the full name of a systemd unit: "etcd" is etcd.service, as for
// systemctl.
func (l *loader) unit(t text) string {
	if !t.given() {
		return ""
	}
	name := t.string
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	valid := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(":-_.@\\", r))
	}
	if !strings.HasSuffix(name, ".service") || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, func(r rune) bool { return !valid(r) }) {
		l.errorAt(t.at, "Invalid unit", "%q is not the name of a systemd service, like \"etcd.service\".", t.string)
	}
	return name
}

// checkName holds names that end up in --initial-cluster, in paths and on
// command lines.
func (l *loader) checkName(kind string, t text) {
	bad := strings.IndexFunc(t.string, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar || strings.ContainsRune("=,/\\:\"'", r)
	})
	switch {
	case t.string == "" && t.at.expr == nil:
		l.errorAt(t.at, "Invalid "+kind+" name", "The name of a %s must not be empty.", kind)
	case bad >= 0, strings.HasPrefix(t.string, "-"), t.string == ".", t.string == "..":
		l.errorAt(t.at, "Invalid "+kind+" name", "The %s name %q can't be used in etcd's --initial-cluster and in paths: take letters, digits, '-', '_' and '.'.", kind, t.string)
	}
}

// withHosts adds "host" to ctx, so that a member can use host.NAME.address.
func withHosts(ctx *hcl.EvalContext, hosts []host, incomplete bool) *hcl.EvalContext {
	attrs := map[string]cty.Value{}
	for _, h := range hosts {
		address := cty.StringVal(h.Address)
		if h.Address == "" {
			address = cty.NullVal(cty.String)
		}
		attrs[h.Name] = cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(h.Name), "address": address})
	}
	out := ctx.NewChild()
	out.Variables = map[string]cty.Value{"host": cty.ObjectVal(attrs)}
	if incomplete {
		out.Variables["host"] = cty.DynamicVal
	}
	return out
}
