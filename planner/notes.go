package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// noteLive adds what is worth knowing of a cluster that runs.
func (b *builder) noteLive(adopted ...*member) {
	if !b.obs.KV.Known() && count(b.members, condServing) > 1 {
		b.note(NoteNotCompared, b.cluster.Pos, "the members' data was not compared: %s", b.obs.KV.Why)
	}
	for _, m := range with(b.members, condServing) {
		for _, a := range m.seen.Client.Alarms {
			b.note(NoteAlarm, m.spec.Pos, "%s has an alarm: %s", m.spec.Name, a)
		}
		if d := m.seen.Data; !d.Known() {
			b.note(CodeDataUnknown, m.spec.Pos, "%s's data directory was not looked at: %s", m.spec.Name, d.Why)
		}
		s := m.seen.Service
		switch {
		case contains(adopted, m):
		case s.Known() && s.Value.Foreign != nil && s.Value.Foreign.Keeper != "":
			b.note(NoteForeignKeeper, m.spec.Pos, "%s is kept running by %s; requorum leaves it to that", m.spec.Name, s.Value.Foreign.Keeper)
		case s.Known() && s.Value.Foreign != nil && s.Value.Foreign.Problem != "":
			b.note(NoteNotSupervised, m.spec.Pos, "%s was not started by requorum, and can't be adopted: %s", m.spec.Name, s.Value.Foreign.Problem)
		case !s.Known():
			b.note(NoteNotSupervised, m.spec.Pos, "it is not known whether anything starts %s again after a crash: %s", m.spec.Name, s.Why)
		case m.unit() != nil && m.unit().Problem != "":
			b.note(NoteRemaining, m.spec.Pos, "what %s runs was not compared with the file: %s", m.at.Unit, m.unit().Problem)
		case m.unit() != nil && m.unit().unread():
			b.note(NoteRemaining, m.spec.Pos, "the files of %s changed since systemd read them: with what it starts %s after systemctl daemon-reload can't be told before", m.at.Unit, m.spec.Name)
		case m.unit() != nil && s.Value.State == ServiceRunning && !m.unit().bootStarts():
			b.note(NoteNoBootStart, m.spec.Pos, "%s is %s: %s does not come back after a reboot; systemctl enable %s", m.at.Unit, orWord(m.unit().Enabled, "not enabled"), m.spec.Name, m.at.Unit)
		case m.commands() != nil && s.Value.State == ServiceRunning && len(s.Value.Args) == 0:
			b.note(NoteRemaining, m.spec.Pos, "with what %s runs was not compared with the file: %s", m.spec.Name, orWord(s.Value.LastError, "its process can't be looked into"))
		case m.commands() != nil && !m.interim() && s.Value.State == ServiceRunning && m.seen.Binary.Known() && m.seen.Client.Version != "" && m.seen.Client.Version != m.seen.Binary.Value.Version:
			b.note(NoteRemaining, m.spec.Pos, "%s serves etcd %s, and the one that the file names is %s: its commands start another", m.spec.Name, m.seen.Client.Version, m.seen.Binary.Value.Version)
		case s.Known() && s.Value.State != ServiceRunning && s.Value.State != ServiceBackoff:
			b.note(NoteNotSupervised, m.spec.Pos, "%s was not started by requorum: nothing here starts it again after a crash", m.spec.Name)
		case s.Known() && s.Value.Restarts > 0:
			b.note(NoteRestarts, m.spec.Pos, "%s died and was started again (%d so far): %s", m.spec.Name, s.Value.Restarts, s.Value.LastError)
		}
	}
	b.noteStates()
	b.noteVoters()
}

// noteRecoverUnused: a recover block that is left in the file would decide over the next
// recovery too, when another disk may have more.
func (b *builder) noteRecoverUnused(p *Plan) {
	if r := b.cluster.Recover; r != nil && p.Refusal == nil && p.Route != RouteRecover {
		b.note(NoteRemaining, r.Pos, "the file's recover block has no part in this plan; take it out when all is well, or the next recovery follows it too")
	}
}

func (b *builder) noteVoters() {
	if n := b.cluster.Voters(); n > 1 && n%2 == 0 {
		b.note(NoteEvenVoters, b.cluster.Pos, "%d voters tolerate no more failures than %d do", n, n-1)
	}
}

// noteReboot says what S21 asks for.
func (b *builder) noteReboot() {
	b.noteVoters()
	b.noteSupervisors(b.members)
}

// noteSupervisors says it of those of ms that requorum itself is to keep running.
func (b *builder) noteSupervisors(ms []*member) {
	if own := slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return m.at.Commands == nil }); len(own) > 0 {
		b.note(NoteNoBootStart, own[0].spec.Pos, "whether %s back after a reboot is up to what the commands start: requorum can't see it", verb(own, "comes", "come"))
	}
	if !slices.ContainsFunc(ms, func(m *member) bool { return m.at.Unit == "" && m.at.Commands == nil }) {
		return
	}
	b.note(NoteNoBootStart, spec.Position{}, "requorum's supervisor does not start members after a reboot of their machine: run `requorum apply` then")
}

func (b *builder) noteRestore(revision int64) {
	s := b.obs.Snapshot
	if s == nil {
		return
	}
	if n := b.bump(); n > 0 {
		why := ""
		if b.begun == nil && b.cluster.Snapshot.RevisionBump == nil && s.Weeks > 0 {
			why = fmt.Sprintf(". That is %s for each of the %d weeks that the file's age has begun, and covers 1,500 writes a second: where the copy is older than its file, or more was written, give revision_bump", grouped(spec.DefaultRevisionBump), s.Weeks+1)
		}
		b.note(NoteWatchers, b.cluster.Snapshot.Pos, "the revision goes on at %s and all before it counts as compacted, so that clients list again instead of showing what is no more%s", grouped(revision), why)
	}
	if s.Leases > 0 {
		b.note(NoteLeasesRestart, b.cluster.Snapshot.Pos, "%d leases begin anew; who held a lock on one may believe that it still does", s.Leases)
	}
	if s.Alarms > 0 {
		what := fmt.Sprintf("%d alarms", s.Alarms)
		if len(s.AlarmList) == s.Alarms {
			what = strings.Join(s.AlarmList, ", ")
		}
		b.note(NoteOldAlarms, b.cluster.Snapshot.Pos, "the snapshot came with an alarm (%s) of members that are no more: it is left out of what is restored", what)
	}
	if strings.TrimSpace(b.cluster.ID) != "" {
		b.note(NoteRemaining, b.cluster.Pos, "the restored cluster has a new ID; write it into the file afterwards (requorum status shows it)")
	}
}

// grouped is n with its digits in threes.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
