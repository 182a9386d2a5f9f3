package load

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/requorum/requorum/spec"
)

var (
	clusterSchema = schema("id etcd{ member{name snapshot{ recover{ tls{ auth{ policy{")
	etcdSchema    = schema("version binary config")
	recoverSchema = schema("from in_place")
	authSchema    = schema("username! password")
	policySchema  = schema("min_fault_tolerance snapshot_before prevent strict")
)

// consents are what policy.prevent may name: the closed set of --accept.
var consents = []string{
	"data-loss", "downtime", "host-destroyed", "remove-member",
	"tail-keep", "tail-drop", "stale-watchers", "lock-release",
}

// cluster reads the one cluster block and checks it against the rest.
func (l *loader) cluster(blocks hcl.Blocks, hosts []host, ctx *hcl.EvalContext, files []string) *spec.Cluster {
	if len(blocks) == 0 {
		l.diags = append(l.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "No cluster",
			Detail:  `A configuration describes one cluster, and this has none. Write cluster "NAME" { … } with a member block for each member.`,
			Subject: &hcl.Range{Filename: files[0], Start: hcl.InitialPos, End: hcl.InitialPos}})
		return nil
	}
	var c *spec.Cluster
	for i, cb := range blocks {
		if i > 0 {
			l.errorAt(origin{rng: cb.DefRange}, "Second cluster", "A file or folder describes one cluster; the first is at %s. Put each into a folder of its own.", blocks[0].DefRange)
		}
		if read := l.oneCluster(cb, hosts, ctx); i == 0 {
			c = read
		}
	}
	return c
}

func (l *loader) oneCluster(cb *hcl.Block, hosts []host, ctx *hcl.EvalContext) *spec.Cluster {
	l.membersIncomplete = false
	b := l.read(cb, clusterSchema, ctx)
	name := label(cb)
	l.checkName("cluster", name)
	c := &spec.Cluster{Name: name.string, ID: l.clusterID(b.text("id")), Dir: l.dir, Pos: position(cb.DefRange)}
	for _, h := range hosts {
		c.Hosts = append(c.Hosts, h.Host)
	}
	members := l.members(b.blocks.OfType("member"), hosts, ctx)
	for _, m := range members {
		c.Members = append(c.Members, m.Member)
	}
	if eb := b.only("etcd"); eb != nil {
		c.Etcd = l.etcd(l.read(eb, etcdSchema, ctx), members)
	}
	if sb := b.only("snapshot"); sb != nil {
		c.Snapshot = l.snapshot(l.read(sb, snapshotSchema, ctx), members)
	}
	if rb := b.only("recover"); rb != nil {
		c.Recover = l.recovery(l.read(rb, recoverSchema, ctx), members)
		l.checkOneSurvivor(c, rb.DefRange)
	}
	if tb := b.only("tls"); tb != nil {
		c.TLS = l.tls(l.read(tb, tlsSchema, ctx), members)
	}
	for i := range members {
		c.Members[i].TLS = l.memberTLS(c.TLS, members[i])
		members[i].TLS = c.Members[i].TLS
	}
	if ab := b.only("auth"); ab != nil {
		c.Auth = l.auth(l.read(ab, authSchema, ctx))
	}
	if pb := b.only("policy"); pb != nil {
		c.Policy = l.policy(l.read(pb, policySchema, ctx), members)
	}
	l.checkMembers(members, b)
	l.checkSchemes(members)
	return c
}

// clusterID gives an ID as etcd prints it: hex without leading zeros.
func (l *loader) clusterID(t text) string {
	if !t.given() {
		return ""
	}
	digits := strings.TrimPrefix(strings.ToLower(t.string), "0x")
	id, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || id == 0 {
		l.errorAt(t.at, "Invalid cluster ID", "%q is not a cluster ID: up to 16 hexadecimal digits, as `etcdctl endpoint status` and `requorum status` show it.", t.string)
		return ""
	}
	return strconv.FormatUint(id, 16)
}

var versionPattern = regexp.MustCompile(`^3\.(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,5}))?$`)

// supported are the minor versions of etcd that requorum knows, in order; the
// last is the one inside requorum.
var supported = []string{"3.4", "3.5", "3.6", "3.7"}

// minor is the first two numbers of a version.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func (l *loader) etcd(b block, members []member) spec.Etcd {
	e := spec.Etcd{Pos: position(b.rng)}
	if v := b.text("version"); v.given() && l.checkVersion(v) {
		e.Version, e.VersionPos = v.string, position(v.at.rng)
	}
	if p := b.text("binary"); p.given() {
		if !strings.Contains(p.string, "/") {
			l.errorAt(p.at, "Not a path", "binary is %q, which could be any etcd of the search path. Write its path, like \"/usr/local/bin/%s\" or \"./%s\".", p.string, p.string, p.string)
		} else {
			e.Binary, e.BinaryPos = l.path("binary", p, elsewhere(members) == ""), position(p.at.rng)
		}
	} else if e.Version != "" && minor(e.Version) != supported[len(supported)-1] && !b.has("binary") {
		l.warnAt(b.at("version"), "No binary for this version", "The etcd inside requorum is of version %s. Add binary = \"/path/of/etcd\" for %s.", supported[len(supported)-1], e.Version)
	}
	e.Config, e.ConfigPos = l.settings(b, e.Version)
	return e
}

func (l *loader) checkVersion(v text) bool {
	switch {
	case !versionPattern.MatchString(v.string):
		l.errorAt(v.at, "Invalid version", "%q is not a version of etcd: write \"3.6\" for any of 3.6, or \"3.6.1\" for just this one.", v.string)
	case !slices.Contains(supported, minor(v.string)):
		l.errorAt(v.at, "Unsupported version", "etcd %s is not supported: requorum knows %s.", v.string, strings.Join(supported, ", "))
	default:
		return true
	}
	return false
}

func (l *loader) recovery(b block, members []member) *spec.Recover {
	from := b.text("from")
	if from.given() && !hasMember(members, from.string) && !l.membersIncomplete {
		l.errorAt(from.at, "Unknown member", "recover.from is %q, which is no member of this cluster.%s", from.string, didYouMean(from.string, memberNames(members)))
	}
	return &spec.Recover{From: from.string, InPlace: b.flag("in_place", false), Pos: position(b.rng)}
}

// checkOneSurvivor: datadir://NAME names a survivor as recover { from } does.
func (l *loader) checkOneSurvivor(c *spec.Cluster, at hcl.Range) {
	name := c.Snapshot.Survivor()
	if from := c.Recover.From; name != "" && from != "" && from != name && !c.Snapshot.Sensitive {
		l.errorAt(origin{rng: at}, "Two survivors", "recover.from is %q, and the snapshot's source datadir://%s names another one: leave one of them out.", from, name)
	}
}

func (l *loader) auth(b block) *spec.Auth {
	a := &spec.Auth{Username: b.text("username").string, Pos: position(b.rng)}
	if !b.has("password") {
		return a
	}
	l.hideSource(b.attrs["password"].Expr)
	l.ephemeral("auth.password", b.attrs["password"].Expr)
	if v, _, ok := b.guarded("password", cty.String); ok {
		l.hide(v)
		a.Password = spec.NewSecret(v.AsString())
	}
	return a
}

func (l *loader) policy(b block, members []member) spec.Policy {
	p := spec.Policy{Pos: position(b.rng), Strict: b.flag("strict", false)}
	if n, ok := b.integer("min_fault_tolerance", 0, 1000); ok {
		p.MinFaultTolerance = int(n)
		l.checkTolerance(p.MinFaultTolerance, b.at("min_fault_tolerance"), members)
	}
	if s := b.text("snapshot_before"); s.given() {
		switch s.string {
		case "never": // the default
		case "membership", "always":
			p.SnapshotBefore = s.string
		default:
			l.errorAt(s.at, "Unknown value", `snapshot_before can't be %q.%s`, s.string, didYouMean(s.string, []string{"never", "membership", "always"}))
		}
	}
	for _, t := range b.texts("prevent") {
		if kind, _, named := strings.Cut(t.string, ":"); named && slices.Contains(consents, kind) {
			l.errorAt(t.at, "Unknown consent", "prevent holds for every host or member: write %q.", kind)
			continue
		}
		if !slices.Contains(consents, t.string) {
			l.errorAt(t.at, "Unknown consent", "There is no consent %q.%s", t.string, didYouMean(t.string, consents))
			continue
		}
		if !slices.Contains(p.Prevent, t.string) {
			p.Prevent = append(p.Prevent, t.string)
		}
	}
	return p
}

func (l *loader) checkTolerance(n int, at origin, members []member) {
	voters := 0
	for _, m := range members {
		if !m.Learner {
			voters++
		}
	}
	if most := max(voters-1, 0) / 2; n > most && !l.membersIncomplete {
		l.errorAt(at, "Tolerance out of reach", "min_fault_tolerance is %d, but %s never tolerates more than %s. Lower it, or add members.", n, count(voters, "voter"), count(most, "failure"))
	}
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
