package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// healthy is a cluster of three on three hosts, as its file says, with a backup that was
// tried out. requorum's own supervisor keeps it, of which nothing else is the matter than
// that it does not come back after a boot.
func healthy(t *testing.T) Input {
	t.Helper()
	c := &spec.Cluster{Name: "demo", Pos: spec.Position{File: "demo.hcl", Line: 1}}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("m%d", i)
		peer, client := []string{fmt.Sprintf("http://10.0.0.%d:2380", i)}, []string{fmt.Sprintf("http://10.0.0.%d:2379", i)}
		c.Hosts = append(c.Hosts, spec.Host{Name: name, Address: fmt.Sprintf("10.0.0.%d", i), Access: spec.AccessSSH, Service: spec.Service{Kind: spec.ServiceProcess}})
		c.Members = append(c.Members, spec.Member{
			Name: name, Host: name, DataDir: "/var/lib/etcd", PeerURLs: peer, ListenPeerURLs: peer, ClientURLs: client, ListenClientURLs: client,
			Pos: spec.Position{File: "demo.hcl", Line: 10 * i},
		})
	}
	obs, err := planner.InSync(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range obs.Members {
		o.Host = name
		o.Client.Metrics = planner.Known(planner.Metrics{UpSeconds: 3600, FsyncSeconds: 0.004, QuotaBytes: 2 << 30})
		o.Client.DBSize, o.Client.DBInUse = 100<<20, 90<<20
		obs.Members[name] = o
	}
	return Input{
		Input: planner.Input{Cluster: c, Observation: obs, Token: "t", Now: "2026-01-02T03:04:05Z"},
		Backups: Backups{
			Place: "/backup", Newest: Backup{"/backup/a.db", 3600}, Drilled: Backup{"/backup/a.db", 3600},
			MaxAge: spec.DefaultMaxBackupAge, MaxDrillAge: spec.DefaultMaxDrillAge,
		},
	}
}

// look gives the findings as "code@member", sorted, but for no-boot-start of all.
func look(in Input) string {
	in.Plan, in.Differences = planner.New(in.Input), planner.Differences(in.Input)
	var out []string
	for _, f := range Of(in) {
		text := string(f.Code)
		if f.Member != "" {
			text += "@" + f.Member
		}
		if text != string(planner.NoteNoBootStart) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestFindings: each trouble gives its finding and no other one; what comes close to it
// gives none.
func TestFindings(t *testing.T) {
	edit := func(name string, change func(*planner.MemberObservation)) func(*Input) {
		return func(in *Input) {
			o := in.Observation.Members[name]
			change(&o)
			in.Observation.Members[name] = o
		}
	}
	metrics := func(name string, change func(*planner.Metrics)) func(*Input) {
		return edit(name, func(o *planner.MemberObservation) { change(&o.Client.Metrics.Value) })
	}
	for name, tt := range map[string]struct {
		plant func(*Input)
		want  string
		close func(*Input)
	}{
		"quota-near": {edit("m2", func(o *planner.MemberObservation) { o.Client.DBSize, o.Client.DBInUse = 1700<<20, 1600<<20 }), "quota-near@m2",
			edit("m2", func(o *planner.MemberObservation) { o.Client.DBSize, o.Client.DBInUse = 1600<<20, 1500<<20 })},
		"no quota told": {nil, "", metrics("m2", func(m *planner.Metrics) { m.QuotaBytes = 0 })},
		"db-fragmented": {edit("m1", func(o *planner.MemberObservation) { o.Client.DBInUse = 49 << 20 }), "db-fragmented@m1",
			edit("m1", func(o *planner.MemberObservation) { o.Client.DBInUse = 50 << 20 })},
		"small and fragmented": {nil, "", edit("m1", func(o *planner.MemberObservation) { o.Client.DBSize, o.Client.DBInUse = 63<<20, 1<<20 })},
		"in use not told":      {nil, "", edit("m1", func(o *planner.MemberObservation) { o.Client.DBInUse = 0 })},
		"slow-disk":            {metrics("m3", func(m *planner.Metrics) { m.FsyncSeconds = 2.048 }), "slow-disk@m3", metrics("m3", func(m *planner.Metrics) { m.FsyncSeconds = 0.512 })},
		"slow and flapping": {metrics("m3", func(m *planner.Metrics) { m.FsyncSeconds, m.LeaderChanges = 2.048, 3 }), "leader-flapping",
			metrics("m3", func(m *planner.Metrics) { m.LeaderChanges = 3 })},
		"backup-missing, none named": {func(in *Input) { in.Backups.Place = "" }, "backup-missing", func(in *Input) {
			in.Backups.Place, in.Backups.MaxAge, in.Backups.MaxDrillAge = "", 0, 0
		}},
		"backup-missing, no backups": {func(in *Input) { in.Backups.Newest, in.Backups.Passed = Backup{}, "notes.db is empty" }, "backup-missing", nil},
		"backup-missing, none there": {func(in *Input) { in.Backups.Newest = Backup{} }, "backup-missing", nil},
		"backup-old":                 {func(in *Input) { in.Backups.Newest.Seconds = 26*3600 + 1 }, "backup-old", func(in *Input) { in.Backups.Newest.Seconds = 26 * 3600 }},
		"backup-not-drilled, never":  {func(in *Input) { in.Backups.Drilled = Backup{} }, "backup-not-drilled", func(in *Input) { in.Backups.Drilled, in.Backups.MaxDrillAge = Backup{}, 0 }},
		"backup-not-drilled, long ago": {func(in *Input) { in.Backups.Drilled.Seconds = 36 * 24 * 3600 }, "backup-not-drilled",
			func(in *Input) { in.Backups.Drilled.Seconds = 34 * 24 * 3600 }},
		"backup-unreadable": {func(in *Input) { in.Backups.Problem = "no" }, "backup-unreadable", nil},
		"shared-host": {func(in *Input) { in.Cluster.Hosts[1].Address = "10.0.0.1" }, "shared-disk shared-host", func(in *Input) {
			// A learner's company takes no vote away.
			in.Cluster.Hosts[1].Address = "10.0.0.4"
		}},
		"no-boot-start": {edit("m1", func(o *planner.MemberObservation) {
			o.Service.Value.Unit = &planner.Unit{Name: "etcd.service", Enabled: "disabled"}
		}), "no-boot-start@m1",
			edit("m1", func(o *planner.MemberObservation) {
				o.Service.Value.Unit = &planner.Unit{Name: "etcd.service", Enabled: "enabled"}
			})},
		"restarts": {edit("m1", func(o *planner.MemberObservation) { o.Service.Value.Restarts = 2 }), "restarts@m1",
			edit("m1", func(o *planner.MemberObservation) { o.Service.Value.Restarts = 0 })},
		"max-learners": {func(in *Input) {
			for _, m := range in.Cluster.Members {
				o := in.Observation.Members[m.Name]
				o.Service.Value.Args = append(slices.Clone(o.Service.Value.Args), "--max-learners=3")
				o.Service.Value.Carried = []string{"--max-learners=3"}
				in.Observation.Members[m.Name] = o
			}
		}, "max-learners@m1 max-learners@m2 max-learners@m3", nil},
		"drift-settings": {func(in *Input) { in.Cluster.Etcd.Config = map[string]string{"heartbeat-interval": "200"} }, "drift-settings@m1 drift-settings@m2 drift-settings@m3", nil},
		"drift-version":  {func(in *Input) { in.Cluster.Etcd.Version = "3.6" }, "drift-version@m1 drift-version@m2 drift-version@m3", func(in *Input) { in.Cluster.Etcd.Version = "3.7" }},
		"host-unreachable": {edit("m2", func(o *planner.MemberObservation) {
			const why = "ssh: no route to host"
			o.Data, o.Service, o.Binary = planner.Unknown[planner.DataDir](why), planner.Unknown[planner.Service](why), planner.Unknown[planner.Binary](why)
		}), "host-unreachable@m2", nil},
		"a bug": {func(in *Input) {
			for _, m := range in.Cluster.Members {
				o := in.Observation.Members[m.Name]
				o.Client.Version = "3.7.0"
				in.Observation.Members[m.Name] = o
			}
		}, "etcd-security", nil},
		"kv-not-compared": {func(in *Input) { in.Observation.KV = planner.Unknown[planner.KVComparison]("it took too long") }, "kv-not-compared", nil},
		"cluster-id-changed": {func(in *Input) { in.Cluster.ID = "abc" }, "cluster-id-changed", func(in *Input) {
			in.Cluster.ID = in.Observation.Members["m1"].Client.ClusterID
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := look(healthy(t)); got != "" {
				t.Fatalf("healthy: %s", got)
			}
			if tt.plant != nil {
				in := healthy(t)
				tt.plant(&in)
				if got := look(in); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			}
			if tt.close != nil {
				in := healthy(t)
				tt.close(&in)
				if got := look(in); got != "" {
					t.Errorf("close by: %s", got)
				}
			}
		})
	}
}

// TestUnderCommands: members that the user's own commands keep are healthy as they are;
// one that requorum's supervisor still has is told.
func TestUnderCommands(t *testing.T) {
	in := healthy(t)
	in.Cluster.Etcd.Binary = "/usr/bin/etcd"
	for i := range in.Cluster.Hosts {
		in.Cluster.Hosts[i].Service = spec.Service{Kind: spec.ServiceCommand, Start: []string{"sv", "start"}, Stop: []string{"sv", "stop"}, Status: []string{"sv", "status"}}
	}
	for name, o := range in.Observation.Members {
		o.Service.Value.SupervisorPID, o.Service.Value.Binary, o.Service.Value.Commands = 1, "/snap/etcd/bin/etcd", &planner.CommandService{}
		in.Observation.Members[name] = o
	}
	in.Plan, in.Differences = planner.New(in.Input), planner.Differences(in.Input)
	if list := Of(in); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	in.Observation.Members["m2"].Service.Value.Commands.Interim = true
	in.Plan, in.Differences = planner.New(in.Input), planner.Differences(in.Input)
	var got []string
	for _, f := range Of(in) {
		got = append(got, string(f.Code)+"@"+f.Member)
	}
	if s := strings.Join(got, " "); s != "no-boot-start@ not-supervised@m2" {
		t.Error(s)
	}
}

// TestNothingThere: the file alone, and addresses that answer nobody.
func TestNothingThere(t *testing.T) {
	in := healthy(t)
	for _, m := range in.Cluster.Members {
		in.Observation.Members[m.Name] = planner.MemberObservation{
			Host: m.Name, Client: planner.Endpoint{URL: m.ClientURLs[0], Reach: planner.ReachRefused}, Peer: planner.PeerEndpoint{URL: m.PeerURLs[0], Reach: planner.ReachRefused},
			Data: planner.Known(planner.DataDir{Path: m.DataDir, State: planner.DirAbsent}), Service: planner.Known(planner.Service{State: planner.ServiceNone}),
			Binary: planner.Known(planner.Binary{Version: "3.7.3"}), FreeBytes: planner.Known(int64(1 << 40)),
		}
	}
	in.Observation.JournalMembers, in.Observation.JournalPlaces, in.Observation.JournalClusterID = nil, nil, ""
	if got := look(in); got != "no-cluster" {
		t.Error(got)
	}
	for name, o := range in.Observation.Members {
		o.Client.Reach, o.Peer.Reach = planner.ReachTimeout, planner.ReachTimeout
		in.Observation.Members[name] = o
	}
	if got := look(in); got != "member-unreachable@m1 member-unreachable@m2 member-unreachable@m3" {
		t.Error(got)
	}
}

// TestDown: members that are stopped, with their disks.
func TestDown(t *testing.T) {
	in := healthy(t)
	for name, o := range in.Observation.Members {
		o.Data.Value.Members = o.Client.Members.Value
		o.Client, o.Peer = planner.Endpoint{URL: o.Client.URL, Reach: planner.ReachRefused}, planner.PeerEndpoint{URL: o.Peer.URL, Reach: planner.ReachRefused}
		o.Service.Value.State, o.Service.Value.PID, o.Data.Value.HeldBy = planner.ServiceStopped, 0, 0
		in.Observation.Members[name] = o
	}
	if got := look(in); got != "cluster-down" {
		t.Error(got, planner.New(in.Input).Refusal)
	}
}

// TestTaken: somebody else at a member's address is one finding, which says so.
func TestTaken(t *testing.T) {
	in := healthy(t)
	for name, o := range in.Observation.Members {
		o.Client, o.Peer = planner.Endpoint{URL: "http://x", Reach: planner.ReachRefused}, planner.PeerEndpoint{Reach: planner.ReachRefused}
		o.Service.Value.State, o.Service.Value.PID, o.Data.Value.HeldBy = planner.ServiceStopped, 0, 0
		if name == "m2" {
			o.Client.Reach, o.PortsTaken = planner.ReachHangs, []string{"http://x"}
		}
		in.Observation.Members[name] = o
	}
	in.Plan = planner.New(in.Input)
	if r := in.Plan.Refusal; r == nil || r.Code != planner.CodePortTaken {
		t.Fatalf("%+v", r)
	}
	var got []string
	for _, f := range Of(in) {
		got = append(got, string(f.Code)+f.Member)
		if f.Code == MemberUnreachable && !strings.Contains(f.Fact, "something else") {
			t.Error(f.Fact)
		}
	}
	if s := strings.Join(got, " "); s != "member-unreachablem2" {
		t.Error(s)
	}
}

// TestOrder: the worst first, then the cluster's, then by the file's order.
func TestOrder(t *testing.T) {
	in := healthy(t)
	in.Backups.Place = ""
	for _, n := range []string{"m3", "m1"} {
		o := in.Observation.Members[n]
		o.Service.Value.Restarts = 1
		in.Observation.Members[n] = o
	}
	m2 := in.Observation.Members["m2"]
	m2.Client.Alarms = []string{"NOSPACE on " + m2.Client.MemberID}
	in.Observation.Members["m2"] = m2
	in.Plan, in.Differences = planner.New(in.Input), planner.Differences(in.Input)
	var got []string
	for _, f := range Of(in) {
		got = append(got, string(f.Code)+f.Member)
		if f.Pos.File == "" || f.Fact == "" || len(f.Remedy) == 0 || f.Title == "" {
			t.Errorf("half said: %+v", f)
		}
	}
	if s := strings.Join(got, " "); s != "space-exhaustedm2 backup-missing no-boot-start restartsm1 restartsm3" {
		t.Error(s)
	}
}

func TestSeverity(t *testing.T) {
	for _, s := range Severities() {
		b, err := json.Marshal(s)
		var again Severity
		if err == nil {
			err = json.Unmarshal(b, &again)
		}
		if parsed, perr := ParseSeverity(s.String()); err != nil || perr != nil || again != s || parsed != s {
			t.Errorf("%s: %v %v %v", b, err, perr, again)
		}
	}
	if _, err := ParseSeverity("Error"); err == nil {
		t.Error("Error is one")
	}
}

func TestBar(t *testing.T) {
	r := Report{FailOn: Error, Clusters: []Cluster{{}, {Findings: []Finding{{Severity: Warning}}}}}
	if r.Fails() || !r.Whole() {
		t.Error("a warning is no error")
	}
	r.Clusters[0].Findings = []Finding{{Severity: Error}}
	if !r.Fails() {
		t.Error("an error is one")
	}
	if r = (Report{FailOn: Info, Clusters: []Cluster{{Problem: "x"}}}); r.Fails() || r.Whole() {
		t.Error("what was not looked at has no findings, and is not whole")
	}
}
