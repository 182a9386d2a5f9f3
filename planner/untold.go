package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// Untold stands in an observation, and so in a plan, for a secret of a process or a unit,
// as a value or in the place of a URL's user: plans are read by other people. The setting
// itself stays where it is; nobody can be given it from a plan.
const Untold = "(sensitive)"

// IsUntold reports whether a flag, or a text, has something in it that is not told.
func IsUntold(text string) bool { return strings.Contains(text, Untold) }

// UntoldFlags are the names of the flags, of --name=value, that are not told.
func UntoldFlags(args []string) []string {
	var out []string
	for _, a := range args {
		if name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "="); IsUntold(value) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// refuseUntold refuses a plan that starts a member with settings that are not told: it
// would lose them. A unit that is started as it is has them itself.
func (b *builder) refuseUntold(p *Plan) *Refusal {
	for _, s := range p.Steps {
		for _, x := range startsOf(s.Action) {
			names := UntoldFlags(x.Args)
			if len(names) == 0 || x.Unit != "" && len(x.Files) == 0 && !x.Bootstrap {
				continue
			}
			code, pos := CodeFeatureUnsupported, b.cluster.Pos
			if i := slices.IndexFunc(b.members, func(m *member) bool { return m.spec.Name == x.Name }); i >= 0 {
				pos = b.members[i].spec.Pos
				if x.Unit != "" {
					code, pos = CodeUnitUnusable, b.servicePos(b.members[i])
				}
			}
			flags := "--" + strings.Join(names, ", --")
			return refusal(code, pos, fmt.Sprintf("%s would be started without %s, which has a secret in it", x.Name, flags),
				fmt.Sprintf("No plan may have a secret, so requorum can't start %s (step %d) with what it has there now.", x.Name, s.ID),
				fmt.Sprintf("Write what it is to have, without the secret, into etcd { config = { %s = … } } in the file: that takes its place.", names[0]),
				"Or take it away where the member is started from now, restart it there, and plan again.")
		}
	}
	return nil
}

func (b *builder) servicePos(m *member) spec.Position {
	h, _ := b.cluster.Host(m.spec.Host)
	return h.Service.Pos
}

// startsOf are the members that an action has started with what it says itself. An etcd
// that is adopted without a unit keeps its own settings, and so does its supervisor.
func startsOf(a Action) []StartMember {
	switch a := a.(type) {
	case Start:
		return a.Members
	case Join:
		return []StartMember{a.StartMember}
	case Adopt:
		var out []StartMember
		for _, m := range a.Members {
			if m.Unit != "" {
				out = append(out, m.StartMember)
			}
		}
		return out
	}
	return nil
}
