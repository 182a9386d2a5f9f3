package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// TestKilledRecovery carries recoveries out on a model, kills them after every effect
// on any member (promise 8), most once more, plans again and carries that out too: it ends with all
// members of the file in one cluster, what was taken is what went furthest, and
// no two identities ever run.
func TestKilledRecovery(t *testing.T) {
	bad, times, cuts := map[string][]string{}, map[string]int{}, 0
	some := []kind{down, serving, missing, damaged, fenced, stuck, removed, learner, byHand, unread2, unstarted}
	for _, a := range some {
		for _, b := range some {
			for _, c := range some {
				for _, file := range mixtureFiles() {
					ks := []kind{a, b, c}
					begin := func() *recovery {
						x := mixture{ks: ks, in: input(file.cluster(), ks...)}
						x.rankLogs()
						return &recovery{in: x.in}
					}
					p := New(begin().in)
					if p.Refusal != nil || p.Route != RouteRecover {
						continue
					}
					for cut := 0; ; cut++ {
						r := begin()
						if r.carryOut(p, cut) < cut {
							break
						}
						cuts++
						r.again = cuts % 7 // and killed once more, so far into the next plan
						if why := r.finish(); why != "" {
							if times[why]++; times[why] <= 3 {
								bad[why] = append(bad[why], fmt.Sprintf("%v, %s, killed after %d: %s", ks, file.name, cut, strings.Join(r.did, ", ")))
							}
						}
					}
				}
			}
		}
	}
	for why, examples := range bad {
		t.Run(why, func(t *testing.T) { t.Errorf("%d times, as in\n%s", times[why], strings.Join(examples, "\n")) })
	}
	t.Logf("%d kills", cuts)
}

// recovery is a cluster while it is recovered.
type recovery struct {
	in    Input
	did   []string
	token int
	again int
}

// finish plans again until nothing is left to do.
func (r *recovery) finish() string {
	for round := range 6 {
		r.token++
		r.in.Token = fmt.Sprintf("another token %d", r.token)
		r.settle()
		p := New(r.in)
		if p.Refusal != nil {
			r.did = append(r.did, "refused: "+string(p.Refusal.Code)+": "+p.Refusal.Detail)
			return "is refused afterwards: " + string(p.Refusal.Code)
		}
		r.did = append(r.did, "PLAN "+string(p.Route)+" "+stepKinds(p))
		if p.Route == RouteInSync {
			if strings.Contains(strings.Join(r.did, " "), "INSTALLS") {
				return "installs what is not staged"
			}
			return ""
		}
		if p.Route == RouteBootstrap || p.Route == RouteRestore {
			return "forgets the survivors: " + string(p.Route)
		}
		if round == 0 && r.again > 0 {
			r.carryOut(p, r.again)
			continue
		}
		r.carryOut(p, 1000)
	}
	return "does not come to an end"
}

// settle has those that run find their leader, where they are a quorum.
func (r *recovery) settle() {
	up := map[string][]string{}
	for _, m := range r.in.Cluster.Members {
		o := r.in.Observation.Members[m.Name]
		if o.Client.Reach == ReachServing {
			up[o.Client.ClusterID] = append(up[o.Client.ClusterID], m.Name)
		}
	}
	for _, names := range up {
		for _, n := range names {
			edit(&r.in, n, func(o *MemberObservation) {
				list := slices.DeleteFunc(slices.Clone(o.Client.Members.Value), func(l ListedMember) bool { return l.Learner })
				o.Client.LeaderID, o.Client.Linearizable = "", Known(false)
				voters := 0
				for _, l := range list {
					for _, n := range names {
						if r.in.Observation.Members[n].Client.MemberID == l.ID {
							voters++
						}
					}
				}
				if voters >= len(list)/2+1 {
					o.Client.LeaderID = r.in.Observation.Members[names[0]].Client.MemberID
					o.Client.Linearizable = Known(true)
				}
			})
		}
	}
}

// carryOut has the first effects of the plan, each on one member; it gives how many
// there were.
func (r *recovery) carryOut(p *Plan, most int) int {
	n := 0
	for _, s := range p.Steps {
		for _, name := range s.Target {
			if n == most {
				return n
			}
			n++
			r.did = append(r.did, s.Kind+" "+name)
			edit(&r.in, name, func(o *MemberObservation) { r.effect(s.Action, name, o) })
		}
	}
	return n
}

func (r *recovery) effect(a Action, name string, o *MemberObservation) {
	m, _ := r.in.Cluster.Member(name)
	d := o.Data.Value
	stop := func() {
		o.Client = Endpoint{URL: m.ClientURLs[0], Reach: ReachRefused}
		o.Peer = PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused}
		o.Service = Known(Service{State: ServiceStopped, Args: o.Service.Value.Args})
		d.HeldBy = 0
	}
	serve := func(args []string) {
		d.HeldBy, d.EverRan = 4711, true
		o.Service = Known(Service{State: ServiceRunning, PID: 4711, SupervisorPID: 4710, UpSeconds: 3600, Binary: "requorum", Args: args})
		o.Peer.Reach, o.Peer.ClusterID = ReachServing, d.ClusterID
		if Closed(args) {
			o.Peer.Members = Known(d.Members)
			return
		}
		o.Client = Endpoint{URL: m.ClientURLs[0], Reach: ReachServing, ClusterID: d.ClusterID, MemberID: d.MemberID, Version: "3.7.3", Revision: 1204, Members: Known(d.Members)}
	}
	switch x := a.(type) {
	case Fence:
		if d.State == DirPresent {
			stop()
			was := d
			was.Provenance = nil
			d = DataDir{Path: d.Path, State: DirFenced, Fenced: &was, EverRan: true, Provenance: d.Provenance}
		}
	case Unfence:
		d = *d.Fenced
		d.Path = m.DataDir
	case Restore:
		i := slices.IndexFunc(x.Members, func(c ClaimMember) bool { return c.Name == name })
		d.Provenance, d.Staged, d.EverRan = &x.Members[i].Provenance, x.Members[i].Provenance.Token, false
	case Recover:
		if x.InPlace != nil {
			d.Provenance, d.Staged = x.InPlace, x.InPlace.Token
		}
	case Install:
		p := d.Provenance
		if p == nil || p.Token != x.Token {
			r.did = append(r.did, "INSTALLS WHAT IS NOT STAGED")
			break
		}
		var list []ListedMember
		for _, f := range r.in.Cluster.Members {
			list = append(list, ListedMember{ID: MemberID(f.PeerURLs, p.Token), Name: f.Name, PeerURLs: f.PeerURLs})
		}
		last := uint64(3)
		next := DataDir{Path: m.DataDir, State: DirPresent, ClusterID: p.ClusterID, MemberID: p.MemberID, LastTerm: 1, LastIndex: last, Commit: last, Provenance: p, ProvenanceAgrees: true, StorageVersion: "3.7.0", Members: list}
		if p.Kind == ProvenanceForceNew {
			next.Members = []ListedMember{{ID: p.MemberID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs}}
			next.LastTerm, next.LastIndex, next.Log = 4, 1206, logTo(1206)
		}
		d = next
	case Start:
		i := slices.IndexFunc(x.Members, func(s StartMember) bool { return s.Name == name })
		if d.State == DirPresent && d.MemberID == x.Members[i].MemberID {
			if !Closed(o.Service.Value.Args) { // one alone of those that were stopped to be opened has nobody to agree with
				d.LastTerm, d.LastIndex, d.Commit = d.LastTerm+1, d.LastIndex+10, d.LastIndex+10
			}
			if d.Log != nil {
				d.Log = logTo(d.LastIndex)
			}
			d.Members = published(d.Members, r.in.Cluster)
			serve(x.Members[i].Args)
		}
	case SetAside:
		stop()
		d = DataDir{Path: m.DataDir, State: DirAbsent, EverRan: true}
	case Stop:
		stop()
	case Adopt:
		i := slices.IndexFunc(x.Members, func(s AdoptMember) bool { return s.Name == name })
		o.Service = Known(Service{State: ServiceRunning, PID: 4711, SupervisorPID: 4710, UpSeconds: 3600, Binary: "requorum", Args: x.Members[i].Args, Carried: x.Members[i].Carried})
	case Remove:
		r.change(x.MemberID, func(l []ListedMember) []ListedMember {
			return slices.DeleteFunc(l, func(e ListedMember) bool { return e.ID == x.MemberID })
		})
	case Add:
		r.token++
		id := fmt.Sprintf("b%d", r.token)
		r.change("", func(l []ListedMember) []ListedMember {
			return append(l, ListedMember{ID: id, PeerURLs: x.PeerURLs, Learner: true})
		})
	case Join:
		for _, other := range r.in.Observation.Members {
			for _, l := range other.Client.Members.Value {
				if slices.Equal(l.PeerURLs, x.PeerURLs) && l.Name == "" {
					cid := other.Client.ClusterID
					d = DataDir{Path: m.DataDir, State: DirPresent, ClusterID: cid, MemberID: l.ID, LastTerm: 5, LastIndex: 1300, Commit: 1300, StorageVersion: "3.7.0", Log: logTo(1300)}
					r.change("", func(ls []ListedMember) []ListedMember {
						for i := range ls {
							if ls[i].ID == l.ID {
								ls[i].Name, ls[i].ClientURLs = m.Name, m.ClientURLs
							}
						}
						d.Members = ls
						return ls
					})
					serve(append(x.Args, "--initial-cluster=x"))
					o.Client.Learner = true
				}
			}
		}
	case Promote:
		r.change("", func(ls []ListedMember) []ListedMember {
			for i := range ls {
				if slices.Equal(ls[i].PeerURLs, x.PeerURLs) {
					ls[i].Learner = false
				}
			}
			d.Members = ls
			return ls
		})
		o.Client.Learner = false
		o.Client.Members = Known(d.Members)
	}
	o.Data = Known(d)
}

// change gives all that serve another list.
func (r *recovery) change(_ string, f func([]ListedMember) []ListedMember) {
	for name, o := range r.in.Observation.Members {
		if o.Client.Reach == ReachServing {
			l := f(slices.Clone(o.Client.Members.Value))
			o.Client.Members, o.Data.Value.Members = Known(l), l
			r.in.Observation.Members[name] = o
		}
	}
	r.settle()
}

func published(l []ListedMember, c *spec.Cluster) []ListedMember {
	l = slices.Clone(l)
	for i := range l {
		if m, ok := c.Member(l[i].Name); ok {
			l[i].ClientURLs = m.ClientURLs
		}
	}
	return l
}
