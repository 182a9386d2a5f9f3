package planner

import (
	"fmt"
	"slices"
	"strings"
)

// unfinished gives the token of a bootstrap or restore that was interrupted and
// has to be finished under that token, or "" where there is none. A restore
// that is merely staged and that the file no longer matches is not finished:
// nothing of it is in place, so a new one may begin.
func (b *builder) unfinished() string {
	token, ran := b.begunToken()
	if token == "" || !b.anyIncomplete(token) && !b.unopened(token) {
		return ""
	}
	if ran {
		if b.unopened(token) && len(b.participants(token, b.toInstall(token))) < majority(b.cluster.Voters()) {
			return "" // nobody was served by it: what is left is a survivor like any other
		}
		return token
	}
	for _, m := range b.members {
		if m.hasData() && !m.under(token) {
			return ""
		}
	}
	if b.finishMismatch(token) != "" {
		return ""
	}
	return token
}

// whyNotFinished says why a restore, parts of which are in place and never
// started, can't go on.
func (b *builder) whyNotFinished() string {
	token, _ := b.begunToken()
	if token == "" {
		return "the members' directories are of different restores"
	}
	if why := b.finishMismatch(token); why != "" {
		return why
	}
	return "not every member's directory is of it"
}

// begunToken is the one token that members have data or a complete staging
// under, and whether any of them ever ran; "" where there is none, or several
// that none ran under.
func (b *builder) begunToken() (token string, ran bool) {
	begun := map[string]bool{}
	for _, m := range b.members {
		p := m.provenance()
		if p == nil || !m.under(p.Token) || p.Kind == ProvenanceForceNew {
			continue // in place there is nothing to finish: it starts, or is done anew
		}
		switch {
		case m.ran(), m.cond == condRunning: // which may write at any moment
			return p.Token, true
		case m.hasData() || m.data().Staged == p.Token:
			begun[p.Token] = true
			token = p.Token
		}
	}
	if len(begun) != 1 {
		return "", false
	}
	return token, false
}

// under reports whether the member's place is claimed by token and has not lost
// what it had under it.
func (m *member) under(token string) bool {
	p := m.provenance()
	return p != nil && p.Token == token && (m.hasData() || !m.data().EverRan || m.cond == condRunning)
}

// ran reports whether the member has data that etcd has run on.
func (m *member) ran() bool {
	return m.hasData() && (m.data().EverRan || !m.neverStarted())
}

// incomplete reports whether the member still lacks its data or its first start
// under token.
func (m *member) incomplete(token string) bool {
	return m.cond != condServing && m.cond != condRunning && m.under(token) && !m.ran()
}

func (b *builder) anyIncomplete(token string) bool {
	for _, m := range b.members {
		if m.incomplete(token) && (m.hasData() || m.vacant() && !b.published(m, token)) {
			return true
		}
	}
	return false
}

// finishMismatch says why the file can't finish what was begun under token; ""
// if it can.
func (b *builder) finishMismatch(token string) string {
	for _, m := range b.members {
		p := m.provenance()
		if p == nil || p.Token != token {
			continue
		}
		if p.InitialCluster != b.cluster.InitialCluster() {
			return fmt.Sprintf("it was begun for the members %s", p.InitialCluster)
		}
		if p.Kind == ProvenanceRestore && len(b.toStage(token)) > 0 {
			return b.snapshotMismatch(p)
		}
	}
	return ""
}

func (b *builder) snapshotMismatch(p *Provenance) string {
	s := b.obs.Snapshot
	switch {
	case s == nil:
		return "the file names no snapshot, and not every member was staged yet"
	case s.Problem != "":
		return "the snapshot can't be used: " + s.Detail
	case s.SHA256 != p.SHA256:
		return fmt.Sprintf("it was begun from a snapshot with sha256 %s…, the file's has %s…", short(p.SHA256), short(s.SHA256))
	case b.cluster.Snapshot.RevisionBump != nil && *b.cluster.Snapshot.RevisionBump != p.RevisionBump:
		return fmt.Sprintf("it was begun with a revision bump of %d, the file now says %d", p.RevisionBump, *b.cluster.Snapshot.RevisionBump)
	}
	return ""
}

func short(s string) string {
	if len(s) > 12 {
		return s[:12]
	}
	return s
}

// toStage are the members that have nothing restored under token yet.
func (b *builder) toStage(token string) []*member {
	_, ran := b.begunToken()
	var out []*member
	for _, m := range b.members {
		if !m.spec.Learner && m.data().Staged != token && b.joins(m, token, ran) {
			out = append(out, m)
		}
	}
	return out
}

// toInstall are the members whose restored directory is not in place yet.
func (b *builder) toInstall(token string) []*member {
	_, ran := b.begunToken()
	var out []*member
	for _, m := range b.members {
		if !m.spec.Learner && b.joins(m, token, ran) {
			out = append(out, m)
		}
	}
	return out
}

// joins reports whether a member without data may begin under token. Once any
// member ran, only one that was claimed then and never ran itself may: any other
// may have held acknowledged writes and lost them.
func (b *builder) joins(m *member, token string, ran bool) bool {
	return m.vacant() && !m.processRuns() && (!ran || m.under(token) && !b.published(m, token))
}

// vacant reports whether nothing lies at the member's place. A directory whose
// log can't be read has no identity either, and is not vacant.
func (m *member) vacant() bool {
	d := m.seen.Data
	return d.Known() && (d.Value.State == DirAbsent || d.Value.State == DirEmpty || d.Value.State == DirFenced)
}

// published reports whether the member's ID under token is known to have served:
// etcd publishes a member's client URLs when it first runs, whoever started it.
func (b *builder) published(m *member, token string) bool {
	id := MemberID(m.spec.PeerURLs, token)
	for _, other := range b.members {
		for _, list := range [][]ListedMember{other.seen.Client.Members.Value, other.seen.Peer.Members.Value, other.data().Members} {
			for _, l := range list {
				if l.ID == id && len(l.ClientURLs) > 0 {
					return true
				}
			}
		}
	}
	return false
}

// participants are the members that a begun identity goes on with: those that
// have its data or are about to, and those that get it now.
func (b *builder) participants(token string, get []*member) []*member {
	var out []*member
	for _, m := range initial(b.members) {
		has := m.hasData() && m.data().Problem == "" || m.cond == condRunning
		if has && m.under(token) || contains(get, m) {
			out = append(out, m)
		}
	}
	return out
}

// finish is the plan that completes what was begun under token.
func (b *builder) finish(token string) *Plan {
	if why := b.finishMismatch(token); why != "" {
		return b.refuse(b.refuseUnfinished(why))
	}
	if r := b.checkFinish(token); r != nil {
		return b.refuse(r)
	}
	kind := b.begunKind(token)
	b.pass(RouteInSync, "a %s was begun and not finished", kind)
	b.pass(RouteStart, "not every member has its data")
	switch kind {
	case ProvenanceRestore:
		return b.finishRestore(token)
	case ProvenanceRecover:
		return b.finishRecover(token)
	}
	return b.finishBootstrap(token)
}

// checkFinish refuses to go on with too few members, or without an etcd to start.
func (b *builder) checkFinish(token string) *Refusal {
	_, ran := b.begunToken()
	var get []*member
	for _, m := range initial(b.members) {
		if b.joins(m, token, ran) {
			get = append(get, m)
		}
	}
	part := b.participants(token, get)
	if r := b.checkOthersAlive(); r != nil && !ran {
		return r
	}
	for _, m := range b.members {
		if m.processRuns() && !m.under(token) {
			return refusal(CodeDataHeld, m.spec.Pos, m.spec.Name+" runs, and has no part in what was begun",
				fmt.Sprintf("%s; %s: %s. What runs there may be of the old cluster.", m.seenText(), m.spec.DataDir, m.dataText()),
				"Save a snapshot from it if it answers, stop it, and plan again.")
		}
	}
	if len(part) < majority(b.cluster.Voters()) {
		return b.refuseFewLeft(part)
	}
	for _, m := range initial(b.members) {
		if !contains(part, m) {
			b.note(NoteRemaining, m.spec.Pos, "%s: %s; with a quorum, planning again will deal with it", m.spec.Name, m.dataText())
		}
	}
	var whole, empty []*member
	for _, m := range part {
		switch {
		case !m.hasData():
			empty = append(empty, m)
		case !m.processRuns():
			whole = append(whole, m)
		}
	}
	if r := b.checkStartable(whole); r != nil {
		return r
	}
	return b.checkPlaces(empty)
}

// begunKind is what was begun under token.
func (b *builder) begunKind(token string) string {
	kind := ProvenanceBootstrap
	for _, m := range b.members {
		if p := m.provenance(); p != nil && p.Token == token {
			kind = p.Kind
		}
	}
	return kind
}

func (b *builder) refuseFewLeft(part []*member) *Refusal {
	return refusal(CodeRestoreUnfinished, b.cluster.Pos, "a new cluster was begun, and too little of it is left to go on with",
		fmt.Sprintf("Of its %d voters %d can go on; it has run, so that what the others lack may have been acknowledged.", b.cluster.Voters(), len(part)),
		"Bring back the directories that are missing, then plan again.",
		"If they are gone for good: stop all members, move DATA_DIR.requorum/provenance.json of each aside; planning again then recovers from what is left.")
}

// finishRecover completes a recovery whose snapshot is there: the record beside it
// has the sha256, and the provenance leads to it.
func (b *builder) finishRecover(token string) *Plan {
	b.plan.Route = RouteRecover
	b.plan.Headline = "a recovery was begun and interrupted: finish it under its own token"
	var p Provenance
	for _, m := range b.members {
		if r := m.provenance(); r != nil && r.Token == token {
			p = *r
		}
	}
	b.plan.Loss = Loss{Kind: LossUnknown, Text: "Lost: what the recovery that was begun gave up, and nothing more: no upper bound is known."}
	b.plan.NewClusterID = ClusterID(b.cluster.Members, token)
	stage, install := b.toStage(token), b.toInstall(token)
	if len(stage) > 0 && b.lostWith(p) {
		install, stage = without(install, stage), nil
		if part := b.participants(token, install); len(part) < majority(b.cluster.Voters()) {
			return b.refuse(b.refuseFewLeft(part))
		}
		b.note(NoteRemaining, b.cluster.Pos, "the snapshot that the recovery made is gone with %s: the others go on with what they have of it; with a quorum, planning again will deal with the rest", p.Source)
	}
	from := survivor{m: b.members[0], d: DataDir{Revision: p.Revision}}
	if m := b.holderOf(p); m != nil {
		from.m = m
	}
	if len(stage) > 0 {
		_, path := parseSource(p.Source)
		b.stageRecovered(token, path, p.RevisionBump, from, stage)
	}
	if len(install) > 0 {
		if movesAside(install) {
			b.trialRecovered(token, install[0], from, p.RevisionBump)
		}
		b.installStep(token, install)
	}
	b.openSteps(b.newIdentity(token, b.participants(token, install), p.Revision+p.RevisionBump, -1))
	b.lines(func(m *member) string {
		switch {
		case contains(stage, m):
			return "restore, start"
		case contains(install, m):
			return "put in place, start"
		case m.cond == condPristine || m.cond == condDown:
			return "start"
		}
		return ""
	})
	b.noteNotBarred()
	b.noteReboot()
	return b.plan
}

// lostWith reports whether the snapshot that a recovery made is gone with the place
// that it lay in: neither the fence nor a record of the recovery is there any more.
func (b *builder) lostWith(p Provenance) bool {
	m := b.holderOf(p)
	if m == nil {
		return false
	}
	d := m.data()
	return m.vacant() && d.State != DirFenced && (d.Provenance == nil || d.Provenance.Token != p.Token)
}

// holderOf is the member beside whose directory the snapshot lies that a recovery
// made; nil where the file has none there.
func (b *builder) holderOf(p Provenance) *member {
	host, path := parseSource(p.Source)
	for _, m := range b.members {
		if m.seen.Host == host && m.seen.Base != "" && strings.HasPrefix(path, m.seen.Base+"/") {
			return m
		}
	}
	return nil
}

// sourceOn is a path on the member's machine as a provenance has it: with the host
// before a colon, where that is another machine.
func sourceOn(m *member, path string) string {
	if m.seen.Host == "" {
		return path
	}
	return m.seen.Host + ":" + path
}

// parseSource undoes sourceOn.
func parseSource(source string) (host, path string) {
	if strings.HasPrefix(source, "/") {
		return "", source
	}
	if host, path, ok := strings.Cut(source, ":/"); ok {
		return host, "/" + path
	}
	return "", source
}

func without(ms, but []*member) []*member {
	return slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return contains(but, m) })
}

func (b *builder) finishBootstrap(token string) *Plan {
	b.plan.Route = RouteBootstrap
	b.plan.Headline = "a bootstrap was begun and interrupted: finish it"
	b.plan.Loss.Text = "Lost: nothing. The members that are still to start never held data."
	var ms []*member
	for _, m := range with(b.members, condFresh, condMissing, condDown) {
		if m.hasData() && m.data().Problem == "" || b.joins(m, token, true) {
			ms = append(ms, m)
		}
	}
	b.bootstrapSteps(token, ms, false)
	return b.plan
}

func (b *builder) finishRestore(token string) *Plan {
	b.plan.Route = RouteRestore
	b.plan.Headline = "a restore was begun and interrupted: finish it under its own token"
	for _, m := range b.members {
		if p := m.provenance(); p != nil && p.Token == token {
			b.begun = p
		}
	}
	b.plan.Loss = Loss{Kind: LossUnknown, Text: "Lost: what the restore that was begun gave up, and nothing more: " + b.restoreLoss(token)}
	stage := b.toStage(token)
	b.restoreSteps(token, stage, b.toInstall(token))
	if p := b.begun; len(stage) == 0 {
		b.note(NoteRemaining, b.cluster.Pos, "it goes on with what was begun at %s from %s, revision %d; the file's snapshot is not read again. To restore another one: requorum stop, then move the data directories away", p.When, p.Source, p.Revision)
	}
	return b.plan
}
