package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// TestEveryMixture walks all mixtures of what three members can be, and holds
// every plan to what must never happen, in the test's own words.
func TestEveryMixture(t *testing.T) {
	n, bad, times := 0, map[string][]string{}, map[string]int{}
	for _, a := range kinds() {
		for _, b := range kinds() {
			for _, c := range kinds() {
				for i, file := range mixtureFiles() {
					ks := []kind{a, b, c}
					if n++; i > 1 && slices.ContainsFunc(ks, func(k kind) bool { return k.is(unread, claimed, staged, begun, orphaned) }) {
						continue // whatever the file says of recovery, they are as in the bare one
					}
					mix := mixture{ks: ks, in: input(file.cluster(), ks...)}
					mix.rankLogs()
					mix.p = New(mix.in)
					for _, why := range mix.broken() {
						if times[why]++; times[why] <= 5 {
							bad[why] = append(bad[why], fmt.Sprintf("%v, %s: route %s, steps %s", ks, file.name, mix.p.Route, stepKinds(mix.p)))
						}
					}
					if n%16 == 0 && New(mix.in).Digest() != mix.p.Digest() {
						t.Errorf("%v: planning twice gives two plans", ks)
					}
				}
			}
		}
	}
	for why, examples := range bad {
		t.Run(why, func(t *testing.T) { t.Errorf("%d times, as in\n%s", times[why], strings.Join(examples, "\n")) })
	}
	t.Logf("%d mixtures", n)
}

type mixtureFile struct {
	name string
	edit func(*spec.Cluster)
}

func (f mixtureFile) cluster() *spec.Cluster {
	c := threeMembers()
	f.edit(c)
	return c
}

func mixtureFiles() []mixtureFile {
	return []mixtureFile{
		{"bare", func(*spec.Cluster) {}},
		{"snapshot", func(c *spec.Cluster) { withSnapshot(c) }},
		{"recover in place", func(c *spec.Cluster) { c.Recover = &spec.Recover{InPlace: true} }},
		{"recover from m2", func(c *spec.Cluster) { c.Recover = &spec.Recover{From: "m2"} }},
	}
}

// mixture is one of them, with the plan made for it.
type mixture struct {
	ks []kind
	in Input
	p  *Plan
}

// rankLogs has the logs end apart: m2's goes furthest, m1's least far.
func (x *mixture) rankLogs() {
	for i, more := range []uint64{0, 2, 1} {
		data(&x.in, x.name(i), func(d *DataDir) {
			if d.Fenced != nil {
				d = d.Fenced
			}
			if d.LastIndex >= 1100 { // not one that was merely restored
				d.LastIndex += more
				d.Commit += more
				d.Log = logTo(d.LastIndex)
			}
		})
	}
}

func (x *mixture) name(i int) string { return fmt.Sprintf("m%d", i+1) }

func (x *mixture) kindOf(name string) kind { return x.ks[name[1]-'1'] }

func (x *mixture) any(is func(kind) bool) bool { return slices.ContainsFunc(x.ks, is) }

func (x *mixture) count(is func(kind) bool) int {
	n := 0
	for _, k := range x.ks {
		if is(k) {
			n++
		}
	}
	return n
}

// seenOn is the identity that lies at a member's place, or behind its fence.
func (x *mixture) seenOn(name string) Identity {
	d := x.in.Observation.Members[name].Data.Value
	if d.Fenced != nil {
		d = *d.Fenced
	}
	return Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
}

func (x *mixture) needs(c Consent) bool {
	return slices.ContainsFunc(x.p.Needs, func(n Need) bool { return n.Consent == c })
}

// broken says which promises the plan breaks.
func (x *mixture) broken() (out []string) {
	if r := x.p.Refusal; r != nil {
		if len(x.p.Steps) > 0 || r.Code == "" || r.Detail == "" || len(r.Remedy) == 0 || r.Title == "" {
			out = append(out, "a refusal without reason, with steps or without a remedy")
		}
		return out
	}
	return slices.Concat(x.brokenRoute(), x.brokenSteps())
}

// brokenRoute looks at what the plan says of itself.
func (x *mixture) brokenRoute() (out []string) {
	say := func(is bool, why string) {
		if is {
			out = append(out, why)
		}
	}
	voters := x.count(kind.voter)
	whole, alive := x.count(kind.whole), x.count(kind.serves)
	ranWhole := x.count(func(k kind) bool { return k.voter() && k != unstarted && !k.whole() }) == 0
	ran := x.any(kind.hasRun)
	p := x.p
	say(x.any(func(k kind) bool { return k == unread }) && p.Route != RouteInSync, "plans over a disk that could not be read")
	say(p.Route == RouteInSync && alive < len(x.ks), "in sync, and not every member serves")
	say(p.Route == RouteInSync && x.any(func(k kind) bool { return k.is(learner, forced) }), "in sync, and not as the file says")
	say(p.Route == RouteReconfigure && x.count(func(k kind) bool { return k.serves() && k.voter() }) < voters/2+1, "changes a cluster that has no quorum")
	say(p.Route == RouteStart && alive < 2 && whole+x.count(func(k kind) bool { return k == blind }) < voters/2+1 && !ranWhole, "a start that promises to lose nothing, without a majority of disks")
	say(p.Route == RouteBootstrap && ran, "bootstraps beside members that have run")
	say(p.Route == RouteRestore && p.Loss.Kind == LossNone, "a restore that promises to lose nothing")
	say(p.Route == RouteRecover && p.Loss.Kind == LossNone && whole < voters/2+1 && !ranWhole, "a recovery that promises to lose nothing, without a majority of disks")
	say(p.Route == RouteRecover && p.Loss.Kind != LossNone && !x.needs(ConsentDataLoss), "a loss without consent")
	say(p.Loss.Kind == "" || p.Loss.Kind != LossNone && p.Loss.Text == "", "a loss that is not told")
	return out
}

// brokenSteps looks at each step and what came before it.
func (x *mixture) brokenSteps() (out []string) {
	say := func(is bool, why string) {
		if is {
			out = append(out, why)
		}
	}
	behind, aside, off, joined, stopped := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	adding, lead := "", x.leader()
	for i, k := range x.ks {
		behind[x.name(i)] = k == fenced
	}
	free := func(name string) bool { // nothing lies at its place
		k := x.kindOf(name)
		return aside[name] || !k.lies() && !k.is(unread2, installed, blind) && (k != fenced)
	}
	for _, s := range x.p.Steps {
		say(s.Before.Has() && !s.After.Has() && !x.needs(ConsentDowntime), "takes the quorum away without consent to downtime")
		switch a := s.Action.(type) {
		case Restore:
			for _, m := range a.Members {
				k := x.kindOf(m.Name)
				say(m.Provenance.Token == token && x.p.Route == RouteRestore && x.any(kind.hasRun), "restores a snapshot beside members that have run")
				say((k.lies() || k.is(unread2)) && !behind[m.Name], "restores over data")
				say(x.any(func(k kind) bool { return k == missing }) && x.p.Route == RouteRestore && m.Provenance.Token == token && !x.needs(ConsentDataLoss), "restores where data is missing without consent")
			}
		case Install:
			for _, m := range a.Members {
				say(!free(m.Name) && !behind[m.Name], "installs over data")
				say(m.Over != (Identity{}) && m.Over != x.seenOn(m.Name), "moves a directory aside that was not seen")
			}
			if a.Token == token || strings.HasPrefix(a.Token, "force-new") {
				out = append(out, x.unfenced(behind)...)
			}
		case Start:
			for _, m := range a.Members {
				say(slices.ContainsFunc(m.Args, func(f string) bool { return strings.Contains(f, "force-new-cluster") }), "starts with force-new-cluster")
				say(m.Bootstrap && !x.kindOf(m.Name).is(fresh, claimed, unstarted, newcomer), "bootstraps over "+string(x.kindOf(m.Name)))
				say(x.kindOf(m.Name).up() && !stopped[m.Name] && !behind[m.Name], "starts what runs")
			}
			if x.p.Route == RouteRecover {
				out = append(out, x.unfenced(behind)...)
			}
			if x.p.Route == RouteStart {
				most := x.count(func(k kind) bool { return k.up() && k.voter() && k != hollow })
				for _, m := range a.Members {
					if k := x.kindOf(m.Name); k.voter() || k == removed { // by its own list it is one
						most++
					}
				}
				say(s.After.Healthy > most, "counts voters as healthy that are neither started nor up")
			}
		case Claim:
			for _, m := range a.Members {
				say(m.Provenance.Kind == ProvenanceBootstrap && x.any(func(k kind) bool { return k.hasRun() || k == missing }), "bootstraps where a cluster is or was")
				say(m.Provenance.Kind == ProvenanceJoin && x.kindOf(m.Name) != unstarted, "joins as a member that is not listed")
			}
		case Adopt:
			for _, m := range a.Members {
				say(!x.kindOf(m.Name).is(orphaned, byHand), "adopts what is "+string(x.kindOf(m.Name)))
				say(x.kindOf(m.Name) == byHand && (m.PID == 0 || m.Start == 0 || !slices.Contains(m.Args, "--auto-compaction-retention=8h")), "an adoption that loses flags, or names no process")
			}
		case Stop:
			for _, m := range a.Members {
				stopped[m.Name] = true
				say(x.kindOf(m.Name) == kept, "stops what somebody else keeps running")
				say(m.Name == lead && x.count(func(k kind) bool { return k.serves() && k.voter() }) > 1 && !off[m.Name], "stops a leader that has a successor")
			}
		case MoveLeader:
			say(a.From != lead || !x.kindOf(a.To).serves() && !joined[a.To], "moves the lead from one that has it not, or to one that can't have it")
			lead = a.To
		case Fence:
			for _, m := range a.Members {
				behind[m.Name] = true
				say(x.kindOf(m.Name) == kept, "fences what somebody else keeps running")
				say(m.Over != x.seenOn(m.Name) || m.Over == (Identity{}), "fences a directory that was not seen")
			}
		case Unfence:
			for _, m := range a.Members {
				say(x.kindOf(m.Name) != fenced || m.Over != x.seenOn(m.Name), "puts back what was not fenced")
				behind[m.Name] = false
			}
		case Recover:
			out = append(out, x.brokenChoice(a)...)
			say(!behind[a.Name], "copies a survivor that is not fenced")
		case Remove:
			k := x.kindOf(a.Name)
			off[a.Name] = true
			say(len(a.Endpoints) == 0 || a.MemberID == "", "a removal that asks nobody")
			say(k.serves() && k.voter(), "removes a healthy voter that the file has")
		case SetAside:
			k := x.kindOf(a.Name)
			aside[a.Name] = true
			say(a.Over != x.seenOn(a.Name), "sets a directory aside that was not seen")
			say(a.Over == (Identity{}) && a.Problem == "", "sets a directory aside without a reason")
			say(k.serves() && !behind[a.Name], "sets a healthy member's directory aside")
			say(x.p.Route == RouteReconfigure && k.is(damaged, unread2, fenced, down) && !off[a.Name], "sets a listed member's directory aside (S19)")
		case Add:
			say(adding != "", "adds a member while another has not started")
			adding = a.Name
		case Join:
			say(adding != "" && adding != a.Name, "joins another than the one added")
			say(!free(a.Name), "starts a new member over data")
			say(x.kindOf(a.Name).up() && !stopped[a.Name] && !behind[a.Name], "starts a new member where something runs")
			adding, joined[a.Name] = "", true
		case Promote:
			say(!joined[a.Name] && x.kindOf(a.Name) != learner, "promotes what has not joined")
		case Update:
			say(x.kindOf(a.Name) == learner, "updates a learner, which promotes it")
		}
	}
	return out
}

// leader is the one that leads, by the test's own fixture.
func (x *mixture) leader() string {
	for i, k := range x.ks {
		if k.serves() && k.voter() {
			return x.name(i)
		}
	}
	return ""
}

// unfenced: a new identity begins, and something of the old one is not behind its
// fence.
func (x *mixture) unfenced(fenced map[string]bool) (out []string) {
	for i, k := range x.ks {
		if k.lies() && !fenced[x.name(i)] {
			out = append(out, "begins a new identity beside unfenced data")
		}
		if k.up() && !fenced[x.name(i)] {
			out = append(out, "begins a new identity beside a process that was not stopped: "+string(k))
		}
	}
	return out
}

// brokenChoice: of the disks that can be read the one with the most is taken.
func (x *mixture) brokenChoice(a Recover) (out []string) {
	if k := x.kindOf(a.Name); k.is(damaged, unread2, missing, fresh) {
		out = append(out, "recovers from what is "+string(k))
	}
	if x.in.Cluster.Recover != nil && x.in.Cluster.Recover.From != "" {
		if a.Name != x.in.Cluster.Recover.From {
			out = append(out, "recovers from another than the file says")
		}
		return out
	}
	for i, k := range x.ks {
		d := x.in.Observation.Members[x.name(i)].Data.Value
		if d.Fenced != nil {
			d = *d.Fenced
		}
		if (k.lies() && k != damaged || k == fenced) && (d.LastTerm > a.LastTerm || d.LastTerm == a.LastTerm && d.LastIndex > a.LastIndex) {
			out = append(out, "recovers from less than what another disk has")
		}
	}
	return out
}
