package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

func voterOrLearner(learner bool) string {
	if learner {
		return "a learner"
	}
	return "a voter"
}

// settingsDiffer says how the arguments of the member's process differ from
// those that the file leads to; "" where they don't, or aren't known.
func (b *builder) settingsDiffer(m *member) string {
	have := m.runsWith()
	want := settled(append(b.argsOf(m, m.runningMinor(), "", ""), b.carried(m, m.runningMinor())...))
	if len(have) == 0 || slices.Equal(have, want) {
		return ""
	}
	return fmt.Sprintf("%s runs with other settings than the file's (%s)", m.spec.Name, argDiff(have, want))
}

// checkSettings refuses members that run, with other settings than the file's,
// and so do not answer where the file says: waiting for them would be in vain.
func (b *builder) checkSettings() *Refusal {
	if b.quorum.Has() {
		return nil // then they are restarted
	}
	var diffs []string
	for _, m := range with(b.members, condRunning) {
		if s := m.seen.Service; !s.Known() || s.Value.State != ServiceRunning || b.awaitsOpening(m) {
			continue
		}
		if diff := b.settingsDiffer(m); diff != "" {
			diffs = append(diffs, diff)
		}
	}
	if len(diffs) == 0 {
		return nil
	}
	return b.refuseReconfigure(diffs)
}

// ownBinary is how a service reports the binary of the file.
func ownBinary(path string) string {
	if path == "" {
		return "requorum"
	}
	return path
}

// SettingsDiff tells two lists of flags, as --name=value, apart for a member that has
// data; "" where they mean the same.
func SettingsDiff(have, want []string) string {
	have, want = settled(have), settled(want)
	if slices.Equal(have, want) {
		return ""
	}
	return argDiff(have, want)
}

// settled are the arguments that still mean something once a member has data:
// those about its beginning don't. localhost is 127.0.0.1: not worth a restart.
func settled(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.HasPrefix(a, "--initial-") {
			continue
		}
		if strings.HasPrefix(a, "--listen-") || strings.HasPrefix(a, "--advertise-") {
			a = strings.ReplaceAll(a, "//localhost:", "//127.0.0.1:")
		}
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// argDiff tells two lists of flags apart, a flag that both have as "old -> new".
func argDiff(have, want []string) string {
	value := func(list []string, name string) (string, bool) {
		for _, a := range list {
			if v, ok := strings.CutPrefix(a, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
	var out []string
	for _, a := range want {
		name, v, _ := strings.Cut(a, "=")
		switch old, there := value(have, name); {
		case there && old != v:
			out = append(out, fmt.Sprintf("%s %s -> %s", name, old, v))
		case !there:
			out = append(out, "+ "+a)
		}
	}
	for _, a := range have {
		name, _, _ := strings.Cut(a, "=")
		if _, there := value(want, name); !there {
			out = append(out, "- "+a)
		}
	}
	return strings.Join(out, ", ")
}

func (b *builder) refuseReconfigure(differences []string) *Refusal {
	return refusal(CodeRouteReconfigure, b.cluster.Pos, "members run otherwise than the file says, and there is no quorum to change that with",
		strings.Join(differences, "; ")+".",
		"If you edited the file (or left out a --var): put it back as it was.",
		"Settings and client URLs: requorum stop, then requorum apply, starts the members with the file's; nobody is served in between.",
		"Or put the file back as it was, start the members, and change the file while they serve.")
}

func (b *builder) refuseMissing() *Refusal {
	m := with(b.members, condMissing, condFenced)[0]
	return refusal(CodeDataMissing, m.spec.Pos, "data is missing where a cluster was: no new one is begun over it",
		fmt.Sprintf("%s: %s, and %s. A disk that is not mounted looks the same.", m.spec.Name, m.dataText(), m.evidence()),
		"Mount the disk, or bring the directory back.",
		"If the data is lost for good, name a snapshot to restore: snapshot { source = … }.",
		"If an empty cluster is what you want, choose other data directories in the file.")
}

// evidence is what says that a cluster was at the member's place.
func (m *member) evidence() string {
	e := m.data().Evidence
	if len(e) == 0 {
		return "data was moved aside from there"
	}
	if len(e) < 2 {
		return strings.Join(e, "")
	}
	return fmt.Sprintf("%s (and %d more signs)", e[0], len(e)-1)
}

func (b *builder) refuseUnfinished(why string) *Refusal {
	return refusal(CodeRestoreUnfinished, b.cluster.Pos, "a restore was begun, and the file no longer fits it",
		"It can't be finished: "+why+".",
		"Put the file back as it was when the restore began, and apply it to the end.",
		"Or, to begin another one: requorum stop, then move the data directories away that say \"never started\", or were only started closed: no client was ever served by them.",
		"What was begun is described in DATA_DIR.requorum/provenance.json of each member.")
}

// refuseNoReply is for members that run and lack a quorum or an answer, and
// that starting others would not help.
func (b *builder) refuseNoReply() *Refusal {
	if r := b.refuseKnownSilence(); r != nil {
		return r
	}
	m := with(b.members, condRunning, condServing)[0]
	for _, x := range with(b.members, condRunning) {
		m = x
		if x.seen.Service.Value.State == ServiceBackoff {
			break
		}
	}
	s := m.seen.Service.Value
	detail := fmt.Sprintf("%s %s (%s).", m.spec.Name, m.runningText(), m.portDetail())
	remedy := []string{"Look at its log, and at the network between the members."}
	if s.Log != "" {
		remedy = []string{"See its log: " + s.Log + "."}
	}
	if s.LastError != "" {
		detail += " Its last words: " + s.LastError + "."
	}
	if s.State == ServiceBackoff && s.Restarts > 0 {
		for _, l := range b.list {
			if l.Learner && b.quorum.Has() && SameURLs(l.PeerURLs, m.spec.PeerURLs) {
				// Going back is as safe as going on.
				remedy = append(remedy, fmt.Sprintf("It is a learner, without a vote, and the cluster does without it. The way on: mend the cause, and it comes up by itself. The way back: take %s out of the file, and apply removes it.", m.spec.Name))
			}
		}
		return refusal(CodeDeadWithAlive, m.spec.Pos, m.spec.Name+" dies and is started again and again", detail,
			append(remedy, "If its settings are wrong: correct the file, then requorum stop, then requorum apply.")...)
	}
	if b.quorum.Has() {
		return refusal(CodeDeadWithAlive, m.spec.Pos, m.spec.Name+" runs and does not answer", detail,
			append(remedy, fmt.Sprintf("The others have a quorum, so it may be restarted: requorum stop --member %s, then requorum apply.", m.spec.Name))...)
	}
	return refusal(CodeDeadWithAlive, m.spec.Pos, m.spec.Name+" runs and does not answer", detail,
		append(remedy, "Don't restart it while the others lack a quorum: a running survivor can still be snapshotted.")...)
}

func refusal(code Code, pos spec.Position, title, detail string, remedy ...string) *Refusal {
	return &Refusal{Code: code, Title: title, Detail: detail, Remedy: remedy, Pos: pos}
}
