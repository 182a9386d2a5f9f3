package planner

import (
	"fmt"
	"slices"
	"strings"
)

// Members under commands of the user's own. What etcd is to run with is in a
// configuration file that requorum keeps beside the data; the commands are told where.
// A member's first start, and each start that is closed to clients, is requorum's own
// supervisor's: no command ever sees a directory without a log in it, so that whatever
// flags it has of its own, none makes a cluster, or a member, of them.

// ConfigPath is etcd's configuration file for a member whose folder is base.
func ConfigPath(base string) string { return base + "/etcd.yaml" }

// commands is what was seen of the member's commands; nil for another kind of service,
// and where it is not known.
func (m *member) commands() *CommandService {
	if m.at.Commands == nil || !m.seen.Service.Known() {
		return nil
	}
	return m.seen.Service.Value.Commands
}

// interim reports whether requorum's own supervisor has a member that its commands are
// to keep, and that is not closed to clients.
func (m *member) interim() bool {
	c := m.commands()
	return c != nil && c.Interim
}

// How many seconds the user's commands may take, and what they began, or ended, may take
// to show it.
const (
	CommandStatusSeconds = 10
	CommandStartSeconds  = 90
	CommandStopSeconds   = 90
	CommandComeUpSeconds = 20
	CommandGoDownSeconds = 30
	commandsStopSeconds  = 3*CommandStatusSeconds + CommandStopSeconds + CommandGoDownSeconds
	commandsStartSeconds = 3*CommandStatusSeconds + CommandStartSeconds + CommandComeUpSeconds
)

// timeForCommands gives a step the time that its members' commands may take: it would
// end before they do.
func (b *builder) timeForCommands(s *Step) {
	targets := s.Action.Targets()
	if !slices.ContainsFunc(b.members, func(m *member) bool { return m.at.Commands != nil && slices.Contains(targets, m.spec.Name) }) && !stopsRemoved(s.Action) {
		return
	}
	switch s.Action.(type) {
	case Stop, Fence:
		s.TimeoutSeconds += commandsStopSeconds
	case Claim, SetAside, Install:
		s.TimeoutSeconds += 3 * CommandStatusSeconds
	case Start, Join:
		s.TimeoutSeconds += commandsStopSeconds + commandsStartSeconds // its supervisor may have to go first
	}
}

// stopsRemoved reports whether commands stop a member that the file has no more.
func stopsRemoved(a Action) bool {
	stop, ok := a.(Stop)
	return ok && slices.ContainsFunc(stop.Members, func(m StopMember) bool { return m.Commands != nil })
}

// useCommands has the commands that a step runs find the settings that it says, and
// shows how their file changes.
func (b *builder) useCommands(s *Step) {
	b.timeForCommands(s)
	switch a := s.Action.(type) {
	case Start:
		for i := range a.Members {
			b.useCommand(s, &a.Members[i])
		}
	case Join:
		b.useCommand(s, &a.StartMember)
		s.Action = a
	}
}

func (b *builder) useCommand(s *Step, x *StartMember) {
	i := slices.IndexFunc(b.members, func(m *member) bool { return m.spec.Name == x.Name })
	if x.Commands == nil || i < 0 || Closed(x.Args) {
		return
	}
	m := b.members[i]
	x.Carried = b.carried(m)
	b.noteUnseen(m, len(x.Carried) == 0)
	for _, flag := range x.Carried {
		name, _, _ := strings.Cut(flag, "=")
		if !slices.ContainsFunc(x.Args, func(a string) bool { return strings.HasPrefix(a, name+"=") }) {
			x.Args = append(x.Args, flag)
		}
	}
	text, err := ConfigText(x, m.seen.Binary.Value.Version)
	if err != nil {
		b.unitRefusal = refusal(CodeCommandsUnfit, b.cluster.Etcd.Pos, "a setting of "+x.Name+"'s can't be told to its commands", err.Error()+".",
			"Leave it out of config, or keep the member by service \"systemd\" or \"process\", which give etcd its settings as flags.")
		return
	}
	path := ConfigPath(m.base())
	s.Equivalent = slices.DeleteFunc(slices.Clone(s.Equivalent), func(c string) bool { return strings.Contains(c, "--data-dir="+x.DataDir+" ") })
	s.Equivalent = append(s.Equivalent, shellLine(x.Commands.Start)+"  # for "+x.Name+": etcd --config-file="+path)
	now := ""
	if c := m.commands(); c != nil {
		now = c.Config
	}
	if written, ok := b.configs[x.Name]; ok {
		now = written
	}
	// Always in the step, for the file is requorum's own and written over whatever it
	// is by then; shown only where it changes.
	x.Files = []FileChange{{Path: path, Text: text}}
	if now == text {
		return
	}
	if b.configs == nil {
		b.configs = map[string]string{}
	}
	b.configs[x.Name] = text
	s.Files = append(s.Files, FileDiff{Member: x.Name, Host: x.Host, Path: path, New: now == "", Lines: diffLines(now, text)})
}

// noteUnseen says of a member that its commands ran, and requorum never did, that the
// settings which they gave it beside the file's are not known while it is down.
func (b *builder) noteUnseen(m *member, nothing bool) {
	c := m.commands()
	ran := m.hasData() && m.provenance() == nil || m.cond == condFenced || m.cond == condMissing
	if !nothing || c == nil || c.Config != "" || !ran || m.processRuns() || m.seen.Service.Value.State != ServiceNone || m.cond == condServing || b.told[m.spec.Name] {
		return
	}
	if b.told == nil {
		b.told = map[string]bool{}
	}
	b.told[m.spec.Name] = true
	b.note(NoteRemaining, m.spec.Pos, "with which settings %s ran is not known: it is down, and requorum has none of them on record. Its commands get only the file's: name the others in etcd { config = … } (a quota, its certificates), or start it once by hand before, so that they are seen", m.spec.Name)
}

// started is the service once requorum has started it.
func (c *CommandService) started(m *StartMember) *CommandService {
	if c == nil {
		return nil
	}
	out := CommandService{Config: c.Config, Closed: Closed(m.Args)}
	for _, f := range m.Files {
		out.Config = f.Text
	}
	return &out
}

// checkCommands refuses what can't be carried out with commands of the user's.
func (b *builder) checkCommands() *Refusal {
	for _, m := range b.members {
		if m.at.Commands == nil {
			continue
		}
		if m.forceNew() {
			return b.refuseForced(m)
		}
		if b.cluster.Etcd.Binary == "" {
			return refusal(CodeCommandsUnfit, serviceOf(b.cluster, m.spec).Pos, "it is not known which etcd "+m.spec.Name+"'s start command runs",
				"A new member's first start, and whatever is restored before clients see it, is requorum's: with the etcd that the command runs afterwards, or the data might not fit it.",
				"Name that one in the file: etcd { binary = … }, a path on the member's host. Of a container's image, copy it out.")
		}
		if s := m.seen.Service; !s.Known() && m.seen.Data.Known() && m.cond != condServing {
			return b.refuseUnclear(m)
		}
	}
	return nil
}

// refuseForced is for a member that its commands run with --force-new-cluster. Unlike a
// supervisor's, or a unit's, the settings of its next start are not requorum's to say, and
// that one would expel every other member (S22).
func (b *builder) refuseForced(m *member) *Refusal {
	c := m.at.Commands
	return refusal(CodeCommandsUnfit, serviceOf(b.cluster, m.spec).Pos, m.spec.Name+"'s commands run etcd with --force-new-cluster",
		"Each start with it expels all other members from that one's disk, whoever makes it: requorum runs no start command that may give it again.",
		"Take --force-new-cluster, ETCD_FORCE_NEW_CLUSTER or force-new-cluster out of what "+shellLine(c.Start)+" runs, before anything starts "+m.spec.Name+" again.",
		"Then stop and start it once by hand: "+shellLine(c.Stop)+"; "+shellLine(c.Start)+", and plan again.")
}

func (b *builder) refuseUnclear(m *member) *Refusal {
	c := m.at.Commands
	return refusal(CodeCommandsUnfit, serviceOf(b.cluster, m.spec).Pos, "it is not known how "+m.spec.Name+"'s service stands", m.seen.Service.Why+".",
		fmt.Sprintf("Run it on its host: %s. It has to end with 0 where the member runs and with 3 where it is stopped; anything else is not known.", shellLine(c.Status)),
		"Correct the command, or end what runs outside it, then plan again. Nothing was changed.")
}

// checkCommandSteps refuses steps on the process of a member that serves, and whose
// commands do not tell how it stands: that it was stopped could not be seen.
func (b *builder) checkCommandSteps(p *Plan) *Refusal {
	for _, s := range p.Steps {
		switch s.Action.(type) {
		case Stop, Start, Adopt, Join, Fence, SetAside, Install:
		default:
			continue
		}
		for _, m := range b.members {
			if m.at.Commands != nil && !m.seen.Service.Known() && slices.Contains(s.Action.Targets(), m.spec.Name) {
				return b.refuseUnclear(m)
			}
		}
	}
	return nil
}

// commandsMayBegin reports whether nothing lies at the place of a member whose service
// is at work all the same.
func (m *member) commandsMayBegin() bool {
	s := m.seen.Service
	return m.seen.Data.Known() && (m.data().State == DirAbsent || m.data().State == DirEmpty) &&
		s.Known() && (s.Value.State == ServiceRunning || s.Value.State == ServiceBackoff)
}

// checkVacantInPlace refuses a recovery that keeps the identity where commands may start
// a member on nothing: no fence is there to keep them from it, and what flags of the old
// cluster begin there has the identity that the recovered one keeps.
func (b *builder) checkVacantInPlace() *Refusal {
	var vacant []*member
	for _, m := range b.members {
		if m.at.Commands != nil && !m.hasData() && m.cond != condFenced {
			vacant = append(vacant, m)
		}
	}
	if len(vacant) == 0 {
		return nil
	}
	return refusal(CodeCommandsUnfit, serviceOf(b.cluster, vacant[0].spec).Pos, "nothing keeps "+names(vacant)+"'s commands from starting the old cluster beside the recovered one",
		"There is no data at that place to fence, and commands can't be barred. With flags of the old cluster they would begin an empty twin, whose cluster ID is the one that a recovery in place keeps.",
		"Leave in_place out: the recovered cluster gets a new ID, which no twin has.",
		"Or take these members out of the file, recover the others in place, and add them again when it serves.")
}

// noteNotBarred says what no fence does for commands of the user's: a unit can be
// masked, they can't.
func (b *builder) noteNotBarred() {
	var data, vacant []*member
	for _, m := range b.members {
		switch {
		case m.at.Commands == nil:
		case m.hasData() || m.cond == condFenced:
			data = append(data, m)
		default:
			vacant = append(vacant, m)
		}
	}
	if len(data) > 0 {
		b.note(NoteNotBarred, data[0].spec.Pos, "nothing can keep %s's commands from being run by somebody else, or at a boot: until the new data is in place the fence keeps etcd from starting, and from then on whoever runs them starts the new member, perhaps before it was verified", names(data))
	}
	if len(vacant) > 0 {
		b.note(NoteNotBarred, vacant[0].spec.Pos, "nothing can keep %s's commands from being run by somebody else, or at a boot, and there is no data at its place to fence: see to it that nobody starts it until this plan is done, for with flags of the old cluster it may begin an empty twin of it", names(vacant))
	}
}

// barCommand is how the member's service is kept from running, by hand.
func (m *member) barCommand() string {
	if c := m.at.Commands; c != nil {
		return shellLine(c.Stop)
	}
	return "systemctl mask --now " + orWord(m.at.Unit, "etcd")
}

// shellLine is a command as it is typed into a shell.
func shellLine(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		plain := a != "" && !strings.ContainsFunc(a, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:=,@%+", r)
		})
		if words[i] = a; !plain {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
