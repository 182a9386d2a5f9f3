package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// differences names what a cluster with quorum has otherwise than the file, each
// in a few words. What start and finish take care of is not among them.
func (b *builder) differences() []string {
	var out []string
	list := b.liveMembers()
	listed := map[*member]bool{}
	for _, l := range list {
		m := b.ofFile(l)
		if m == nil {
			out = append(out, fmt.Sprintf("%s is a member and not in the file: remove", listText([]ListedMember{l})))
			continue
		}
		listed[m] = true
		out = append(out, m.differsFrom(l)...)
	}
	for _, m := range b.members {
		if !listed[m] && list != nil {
			out = append(out, fmt.Sprintf("%s is in the file and not a member: add", m.spec.Name))
			continue
		}
		out = append(out, b.memberDifferences(m)...)
	}
	return out
}

func (m *member) differsFrom(l ListedMember) []string {
	var out []string
	if l.Name == "" && m.cond != condFresh && m.cond != condPristine {
		out = append(out, m.spec.Name+" was added and never started")
	}
	if l.Name != "" && l.Name != m.spec.Name {
		out = append(out, fmt.Sprintf("the member at %s is called %s, in the file %s", strings.Join(l.PeerURLs, ","), l.Name, m.spec.Name))
	}
	if !sameURLs(l.PeerURLs, m.spec.PeerURLs) {
		out = append(out, fmt.Sprintf("%s has the peer URLs %s, in the file %s", m.spec.Name, strings.Join(l.PeerURLs, ","), strings.Join(m.spec.PeerURLs, ",")))
	}
	if len(l.ClientURLs) > 0 && m.cond == condServing && !sameURLs(l.ClientURLs, m.spec.ClientURLs) {
		out = append(out, fmt.Sprintf("%s advertises the client URLs %s, in the file %s", m.spec.Name, strings.Join(l.ClientURLs, ","), strings.Join(m.spec.ClientURLs, ",")))
	}
	if l.Learner != m.spec.Learner {
		out = append(out, fmt.Sprintf("%s is %s, in the file %s", m.spec.Name, voterOrLearner(l.Learner), voterOrLearner(m.spec.Learner)))
	}
	return out
}

func voterOrLearner(learner bool) string {
	if learner {
		return "a learner"
	}
	return "a voter"
}

func (b *builder) memberDifferences(m *member) []string {
	switch m.cond {
	case condPristine:
		return []string{fmt.Sprintf("%s has a restored directory that is not of this cluster: replace", m.spec.Name)}
	case condMissing, condFresh, condDamaged:
		return []string{fmt.Sprintf("%s's data is gone (%s): replace", m.spec.Name, m.dataText())}
	case condServing:
		return b.runningDifferences(m)
	}
	return nil
}

func (b *builder) runningDifferences(m *member) []string {
	var out []string
	if v := m.seen.Client.Version; !satisfies(v, b.cluster.Etcd.Version) {
		out = append(out, fmt.Sprintf("%s runs etcd %s, the file wants %s", m.spec.Name, v, b.cluster.Etcd.Version))
	}
	s := m.seen.Service
	if !s.Known() || s.Value.State != ServiceRunning {
		return out
	}
	if diff := b.settingsDiffer(m); diff != "" {
		out = append(out, diff)
	}
	if runs, want := s.Value.Binary, ownBinary(b.cluster.Etcd.Binary); runs != want {
		out = append(out, fmt.Sprintf("%s runs %s, the file says %s", m.spec.Name, runs, want))
	}
	return out
}

// settingsDiffer says how the arguments of the member's process differ from
// those that the file leads to; "" where they don't, or aren't known.
func (b *builder) settingsDiffer(m *member) string {
	args := m.seen.Service.Value.Args
	have, want := settled(args), settled(etcdArgs(b.cluster, m.spec, "", ""))
	if len(args) == 0 || slices.Equal(have, want) {
		return ""
	}
	return fmt.Sprintf("%s runs with other settings than the file's: %s", m.spec.Name, argDiff(have, want))
}

// checkSettings refuses members that run, with other settings than the file's,
// and so do not answer where the file says: waiting for them would be in vain.
func (b *builder) checkSettings() *Refusal {
	var diffs []string
	for _, m := range with(b.members, condRunning) {
		if s := m.seen.Service; !s.Known() || s.Value.State != ServiceRunning {
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

// settled are the arguments that still mean something once a member has data:
// those about its beginning don't.
func settled(args []string) []string {
	var out []string
	for _, a := range args {
		if !strings.HasPrefix(a, "--initial-") {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

func argDiff(have, want []string) string {
	var out []string
	for _, a := range want {
		if !slices.Contains(have, a) {
			out = append(out, "+ "+a)
		}
	}
	for _, a := range have {
		if !slices.Contains(want, a) {
			out = append(out, "- "+a)
		}
	}
	return strings.Join(out, ", ")
}

func (b *builder) refuseReconfigure(differences []string) *Refusal {
	return refusal(CodeRouteReconfigure, b.cluster.Pos, "the cluster lives and differs from the file: it would have to be reconfigured",
		strings.Join(differences, "; ")+".",
		"If you edited the file (or left out a --var): put it back as it was.",
		"Settings and client URLs: requorum stop, then requorum apply, starts the members with the file's; nobody is served in between.",
		"Members: changing them comes with a later version. By hand: etcdctl member update, remove or add; one that was added is started once on an empty directory with --initial-cluster-state=existing.")
}

func (b *builder) refuseRecover() *Refusal {
	var disks []string
	for _, m := range b.members {
		if m.hasData() {
			disks = append(disks, fmt.Sprintf("%s (%s)", m.spec.Name, m.dataText()))
		}
	}
	return refusal(CodeRouteRecover, b.cluster.Pos, "quorum is gone, but there is a survivor: it would have to be recovered from its disk",
		fmt.Sprintf("%d of %d voters' disks are intact; there are %s. Restoring a snapshot over them would lose what they hold.",
			len(b.intact()), b.listedVoters(), strings.Join(disks, ", ")),
		"Keep every disk as it is and copy it before you try anything.",
		"If another member's disk can be brought back, do that first: with a majority nothing is lost.",
		"Recovery from survivors comes with a later version; by hand see etcd's documentation on disaster recovery.")
}

func (b *builder) refuseMissing() *Refusal {
	m := with(b.members, condMissing)[0]
	return refusal(CodeDataMissing, m.spec.Pos, "data is missing where a cluster was: no new one is begun over it",
		fmt.Sprintf("%s: %s, and %s. A disk that is not mounted looks the same.", m.spec.Name, m.dataText(), m.evidence()),
		"Mount the disk, or bring the directory back.",
		"If the data is lost for good, name a snapshot to restore: snapshot { source = … }.",
		"If an empty cluster is what you want, choose other data directories in the file.")
}

// evidence is what says that a cluster was at the member's place.
func (m *member) evidence() string { return strings.Join(m.data().Evidence, "; ") }

func (b *builder) refuseUnfinished(why string) *Refusal {
	return refusal(CodeRestoreUnfinished, b.cluster.Pos, "a restore was begun, and the file no longer fits it",
		"It can't be finished: "+why+".",
		"Put the file back as it was when the restore began, and apply it to the end.",
		"Or, to begin another one: move the data directories that say \"never started\" away.",
		"What was begun is described in DATA_DIR.requorum/provenance.json of each member.")
}

// refuseNoReply is for members that run and lack a quorum or an answer, and
// that starting others would not help.
func (b *builder) refuseNoReply() *Refusal {
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
		return refusal(CodeDeadWithAlive, m.spec.Pos, m.spec.Name+" dies and is started again and again", detail,
			append(remedy, "If its settings are wrong: correct the file, then requorum stop, then requorum apply.")...)
	}
	return refusal(CodeDeadWithAlive, m.spec.Pos, m.spec.Name+" runs and does not answer", detail,
		append(remedy, "Don't restart it while the others lack a quorum: a running survivor can still be snapshotted.")...)
}

func refusal(code Code, pos spec.Position, title, detail string, remedy ...string) *Refusal {
	return &Refusal{Code: code, Title: title, Detail: detail, Remedy: remedy, Pos: pos}
}
