package saved

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Resource is a member, or the cluster, and what the plan changes of it, in the form
// that Terraform gives its plans: programs that read these read this too.
type Resource struct {
	Address      string         `json:"address"`
	Mode         string         `json:"mode"`
	Type         string         `json:"type"`
	Name         string         `json:"name"`
	Provider     string         `json:"provider_name"`
	Change       ResourceChange `json:"change"`
	ActionReason string         `json:"action_reason,omitempty"`
}

// ResourceChange is how a resource changes.
type ResourceChange struct {
	Actions         []string       `json:"actions"` // no-op; create; update; delete; delete and create
	Before          map[string]any `json:"before"`
	After           map[string]any `json:"after"`
	AfterUnknown    map[string]any `json:"after_unknown"`
	BeforeSensitive map[string]any `json:"before_sensitive"`
	AfterSensitive  map[string]any `json:"after_sensitive"`
}

// The types of resources.
const (
	typeCluster = "etcd_cluster"
	typeMember  = "etcd_member"
)

// Terraform's words for why.
const (
	reasonGone  = "delete_because_no_resource_config"
	reasonSpoil = "replace_because_tainted"
)

func resource(kind, name string) Resource {
	none := func() map[string]any { return map[string]any{} }
	return Resource{
		Address: kind + "." + name, Mode: "managed", Type: kind, Name: name, Provider: "requorum",
		Change: ResourceChange{AfterUnknown: none(), BeforeSensitive: none(), AfterSensitive: none()},
	}
}

// resourceChanges are the cluster and its members, those of the file first.
func resourceChanges(in planner.Input, p *planner.Plan) []Resource {
	out := []Resource{clusterChange(in, p)}
	for _, m := range in.Cluster.Members {
		out = append(out, memberChange(in, p, m))
	}
	for _, s := range p.Steps {
		a, ok := s.Action.(planner.Remove)
		if _, inFile := in.Cluster.Member(s.Target[0]); !ok || inFile {
			continue
		}
		name := a.Name
		if name == "" { // it never started
			name = a.MemberID
		}
		r := resource(typeMember, name)
		r.Change.Actions, r.ActionReason = []string{"delete"}, reasonGone
		r.Change.Before = map[string]any{"name": a.Name, "member_id": a.MemberID}
		for _, o := range in.Observation.Others {
			if o.ID == a.MemberID {
				r.Change.Before = listed(o.ListedMember, o.Client.Reach == planner.ReachServing)
			}
		}
		out = append(out, r)
	}
	return out
}

func clusterChange(in planner.Input, p *planner.Plan) Resource {
	r := resource(typeCluster, in.Cluster.Name)
	after := map[string]any{"name": in.Cluster.Name, "cluster_id": p.ID(), "voters": in.Cluster.Voters()}
	if s := in.Cluster.Snapshot; s != nil {
		if s.Sensitive {
			r.Change.AfterSensitive["snapshot_source"] = true
		} else if in.Observation.Snapshot != nil {
			after["snapshot_source"] = in.Observation.Snapshot.Source
		}
	}
	r.Change.After = after
	before := map[string]any{}
	for k, v := range after {
		before[k] = v
	}
	before["cluster_id"], before["voters"] = p.ClusterID, p.Before.Voters
	switch {
	case p.Refusal != nil || !p.Changes():
		r.Change.Actions, r.Change.Before = []string{"no-op"}, after
	case p.ClusterID == "":
		r.Change.Actions = []string{"create"}
	case p.NewClusterID != "" && p.NewClusterID != p.ClusterID:
		r.Change.Actions, r.Change.Before = []string{"delete", "create"}, before
	case before["cluster_id"] == after["cluster_id"] && before["voters"] == after["voters"]:
		r.Change.Actions, r.Change.Before = []string{"no-op"}, after
	default:
		r.Change.Actions, r.Change.Before = []string{"update"}, before
	}
	return r
}

func memberChange(in planner.Input, p *planner.Plan, m spec.Member) Resource {
	r := resource(typeMember, m.Name)
	before := memberBefore(in, m)
	after := map[string]any{
		"name": m.Name, "host": m.Host, "peer_urls": m.PeerURLs, "client_urls": m.ClientURLs, "data_dir": m.DataDir,
		"wal_dir": m.WALDir, "learner": m.Learner, "serves": true,
	}
	removed, made, touched, over := false, false, false, false
	if before != nil {
		after["member_id"] = before["member_id"]
		for _, k := range settingKeys {
			after[k] = before[k]
		}
	}
	for _, s := range p.Steps {
		if !slices.Contains(s.Target, m.Name) {
			continue
		}
		switch a := s.Action.(type) {
		case planner.Verify, planner.Save, planner.Trial, planner.Recover:
			continue
		case planner.Remove:
			removed = true
		case planner.Join:
			made = true
			startsWith(after, in, a.StartMember)
			delete(after, "member_id")
			r.Change.AfterUnknown["member_id"] = true
		case planner.Install:
			made = true
			for _, x := range a.Members {
				over = over || x.Name == m.Name && x.Over != planner.Identity{}
			}
		case planner.Start:
			for _, x := range a.Members {
				if x.Name == m.Name {
					after["member_id"] = x.MemberID
					startsWith(after, in, x)
					made = made || x.Bootstrap
				}
			}
		case planner.Stop:
			if p.Route == planner.RouteStop {
				after["serves"] = false
			}
		}
		touched = true
	}
	r.Change.Before, r.Change.After = before, after
	switch {
	case !touched:
		r.Change.Actions = []string{"no-op"}
		if before != nil {
			r.Change.After = before
		} else {
			r.Change.Before, r.Change.After = nil, nil
		}
	case made && before != nil && (removed || over || !p.Before.Has()):
		r.Change.Actions, r.ActionReason = []string{"delete", "create"}, reasonSpoil
	case made || before == nil:
		r.Change.Actions, r.Change.Before = []string{"create"}, nil
	default:
		r.Change.Actions = []string{"update"}
	}
	return r
}

// memberBefore is the member as it was seen; nil where nothing of it is there.
func memberBefore(in planner.Input, m spec.Member) map[string]any {
	o, ok := in.Observation.Members[m.Name]
	if !ok {
		return nil
	}
	d, e := o.Data.Value, o.Client
	id := e.MemberID
	lists := append(slices.Clone(e.Members.Value), d.Members...)
	if id == "" {
		id = d.MemberID
	}
	if d.Fenced != nil && id == "" {
		id, lists = d.Fenced.MemberID, append(lists, d.Fenced.Members...)
	}
	if id == "" {
		return nil
	}
	out := map[string]any{"name": m.Name, "member_id": id}
	for _, l := range lists {
		if l.ID == id {
			out = listed(l, e.Reach == planner.ReachServing)
			break
		}
	}
	if out["name"] == "" {
		out["name"] = m.Name
	}
	out["serves"] = e.Reach == planner.ReachServing
	out["host"], out["data_dir"], out["wal_dir"] = m.Host, m.DataDir, m.WALDir
	if e.Version != "" {
		out["version"] = e.Version
	}
	if s := o.Service; s.Known() && len(s.Value.Args) > 0 {
		settings(out, s.Value.Binary, s.Value.Args)
	} else if s.Known() && s.Value.Foreign != nil {
		settings(out, s.Value.Foreign.Exe, s.Value.Foreign.Args)
	}
	return out
}

// settingKeys are those of a member's attributes that its command line gives.
var settingKeys = []string{"version", "binary", "config", "listen_peer_urls", "listen_client_urls"}

// startsWith has a member run as it is started.
func startsWith(out map[string]any, in planner.Input, a planner.StartMember) {
	if b := in.Observation.Members[a.Name].Binary; b.Known() {
		out["version"] = b.Value.Version
	}
	binary := a.Binary
	if binary == "" {
		binary = "requorum" // as a service has it
	}
	settings(out, binary, a.Args)
}

// settings are a command line's, but for what has attributes of its own.
func settings(out map[string]any, binary string, args []string) {
	config := map[string]any{}
	out["binary"], out["config"] = binary, config
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case name == "listen-peer-urls", name == "listen-client-urls":
			out[strings.ReplaceAll(name, "-", "_")] = strings.Split(value, ",")
		case name == "name", name == "data-dir", name == "wal-dir", name == "advertise-client-urls", strings.HasPrefix(name, "initial-"):
		default:
			config[name] = value
		}
	}
}

func listed(l planner.ListedMember, serves bool) map[string]any {
	return map[string]any{
		"name": l.Name, "member_id": l.ID, "peer_urls": l.PeerURLs, "client_urls": l.ClientURLs, "learner": l.Learner, "serves": serves,
	}
}

// resourceDrift are the members that are not as they should be, whatever the file
// says: what somebody, or something, changed.
func resourceDrift(in planner.Input, p *planner.Plan) []Resource {
	out := []Resource{}
	for _, l := range p.Members {
		if !l.Alarm {
			continue
		}
		r := resource(typeMember, l.Name)
		o := in.Observation.Members[l.Name]
		r.Change.Actions = []string{"update"}
		r.Change.Before = map[string]any{"serves": true}
		r.Change.After = map[string]any{"serves": o.Client.Reach == planner.ReachServing, "seen": l.Seen, "data": l.Data}
		out = append(out, r)
	}
	return out
}
