package etcd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

func TestProbeServing(t *testing.T) {
	t.Parallel()
	l := startOne(t, "solo", nil)
	c := l.cli(t, nil)
	put(t, c, "a", "1")
	before := walBytes(t, l.cfg.Dir)
	urls := []string{"http://" + listen(t, silent), l.client}
	start := time.Now()
	e := Probe(context.Background(), urls, Access{Username: "nobody", Password: spec.NewSecret("x")}, 5*time.Second)
	if time.Since(start) > 2*time.Second {
		t.Error("the hanging URL held up the serving one")
	}
	id := hexID(uint64(l.Server.MemberID()))
	if e.Reach != planner.ReachServing || e.URL != l.client || e.MemberID != id || e.LeaderID != id ||
		e.Version != "3.7.3" || e.Revision != 2 || e.DBSize == 0 || e.Applied == 0 || e.Term == 0 || e.Learner {
		t.Errorf("%+v", e)
	}
	if !e.Linearizable.Known() || !e.Linearizable.Value {
		t.Errorf("linearizable: %+v", e.Linearizable)
	}
	if m := e.Members.Value; len(m) != 1 || m[0].ID != id || m[0].Name != "solo" || m[0].PeerURLs[0] != l.peer {
		t.Errorf("members: %+v", e.Members)
	}
	p := ProbePeer(context.Background(), []string{l.peer}, Access{}, 5*time.Second)
	if p.Reach != planner.ReachServing || p.ClusterID != e.ClusterID || len(p.Members.Value) != 1 || p.Members.Value[0].ID != id {
		t.Errorf("peer: %+v", p)
	}
	// A client port is not a peer port.
	if p := ProbePeer(context.Background(), []string{l.client}, Access{}, 2*time.Second); p.Reach != planner.ReachWrongService {
		t.Errorf("client port as peer: %s: %s", p.Reach, p.Detail)
	}
	if e := Probe(context.Background(), []string{l.peer}, Access{}, 2*time.Second); e.Reach != planner.ReachWrongService {
		t.Errorf("peer port as client: %s: %s", e.Reach, e.Detail)
	}
	if rev, keys, err := Count(context.Background(), l.client, Access{}); err != nil || rev != 2 || keys != 1 {
		t.Errorf("Count: %d %d %v", rev, keys, err)
	}
	if after := walBytes(t, l.cfg.Dir); after != before {
		t.Error("asking changed the write-ahead log")
	}
}

// walBytes is the log's content up to its zeroes.
func walBytes(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "member/wal/*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatal("no wal", err)
	}
	b, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(b), "\x00")
}

func TestProbeTwoMembersBehindOne(t *testing.T) {
	t.Parallel()
	a, b := startOne(t, "a", nil), startOne(t, "b", nil)
	e := Probe(context.Background(), []string{a.client, b.client}, Access{}, 5*time.Second)
	if e.Reach != planner.ReachWrongService || !strings.Contains(e.Detail, "different members") || e.MemberID != "" {
		t.Errorf("%+v", e)
	}
	p := ProbePeer(context.Background(), []string{a.peer, b.peer}, Access{}, 5*time.Second)
	if p.Reach != planner.ReachWrongService || p.Members.State != planner.FactContradicted {
		t.Errorf("%+v", p)
	}
}

// A survivor restarted without quorum hangs on its client port and answers on
// its peer port; so does a member of a new cluster that starts alone.
func TestProbeStartedWithoutQuorum(t *testing.T) {
	t.Parallel()
	for name, members := range map[string]func(testing.TB) []*live{
		"new": configThree,
		"restarted": func(t testing.TB) []*live {
			all := startThree(t)
			for _, l := range all {
				l.Close()
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = 2 * time.Second
			all := members(t)
			l := all[0]
			l.begin(t)
			t.Cleanup(func() { // embed's Close waits for a server that never became ready
				for _, other := range all[1:] {
					other.begin(t)
				}
				l.wait(t)
			})
			within(t, limit, func() {
				e := Probe(context.Background(), []string{l.client}, Access{}, limit)
				if e.Reach != planner.ReachHangs || e.MemberID != "" {
					t.Errorf("client: %s: %s", e.Reach, e.Detail)
				}
			})
			p := ProbePeer(context.Background(), []string{l.peer}, Access{}, limit)
			if p.Reach != planner.ReachServing || p.ClusterID == "" || len(p.Members.Value) != 3 {
				t.Errorf("peer: %+v", p)
			}
		})
	}
}

func TestProbeLosesQuorum(t *testing.T) {
	t.Parallel()
	const limit = 4 * time.Second
	all := startThree(t)
	put(t, all[0].cli(t, nil), "a", "1")
	for _, l := range all {
		e := Probe(context.Background(), []string{l.client}, Access{}, limit)
		if e.Reach != planner.ReachServing || !e.Linearizable.Value || len(e.Members.Value) != 3 || e.LeaderID == "" {
			t.Errorf("%s: %+v", l.name, e)
		}
	}
	all[1].Close()
	all[2].Close()
	within(t, limit, func() {
		e := Probe(context.Background(), []string{all[0].client}, Access{}, limit)
		if e.Reach != planner.ReachServing || e.LeaderID != "" || len(e.Members.Value) != 3 || len(e.Alarms) != 0 {
			t.Errorf("%+v", e)
		}
		if f := e.Linearizable; !f.Known() || f.Value || !strings.Contains(f.Why, "no leader") {
			t.Errorf("linearizable: %+v", f)
		}
	})
	p := ProbePeer(context.Background(), []string{all[0].peer}, Access{}, limit)
	if p.Reach != planner.ReachServing || len(p.Members.Value) != 3 {
		t.Errorf("peer: %+v", p)
	}
	// A count is a serializable read.
	if _, keys, err := Count(context.Background(), all[0].client, Access{}); err != nil || keys != 1 {
		t.Errorf("Count: %d %v", keys, err)
	}
}

func TestProbeLearner(t *testing.T) {
	t.Parallel()
	first := startOne(t, "m1", nil)
	second := liveConfig(t, "m2", "token-m1", nil)
	if _, err := first.cli(t, nil).MemberAddAsLearner(bounded(t), []string{second.peer}); err != nil {
		t.Fatal(err)
	}
	second.cfg.InitialCluster = first.cfg.InitialCluster + "," + second.cfg.InitialCluster
	second.cfg.ClusterState = "existing"
	second.begin(t)
	second.wait(t)
	e := Probe(context.Background(), []string{second.client}, Access{}, 3*time.Second)
	if e.Reach != planner.ReachServing || !e.Learner || e.Linearizable.Known() || e.Members.Known() {
		t.Errorf("%+v", e)
	}
	f := CompareKV(context.Background(), map[string]string{"m1": first.client, "m2": second.client}, Access{}, 5*time.Second)
	if f.Known() || !strings.Contains(f.Why, "m2") {
		t.Errorf("%+v", f)
	}
}

func TestProbeAuth(t *testing.T) {
	t.Parallel()
	const limit = 4 * time.Second
	all := startThree(t)
	c := all[0].cli(t, nil)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, c, "k", "v")
	must(c.UserAdd(bounded(t), "root", "right"))
	must(c.UserGrantRole(bounded(t), "root", "root"))
	must(c.UserAdd(bounded(t), "guest", "guest"))
	must(c.AuthEnable(bounded(t)))
	user := func(name, password string) Access { return Access{Username: name, Password: spec.NewSecret(password)} }

	for _, tt := range []struct {
		a     Access
		reach planner.Reach
		text  string
	}{
		{user("root", "right"), planner.ReachServing, ""},
		{user("guest", "guest"), planner.ReachServing, ""},
		{user("root", "wrong-word"), planner.ReachAuth, "authentication failed"},
		{user("nobody", "wrong-word"), planner.ReachAuth, "authentication failed"},
		{Access{}, planner.ReachAuth, "user name is empty"},
	} {
		e := Probe(context.Background(), []string{all[0].client}, tt.a, limit)
		if e.Reach != tt.reach || !strings.Contains(e.Detail, tt.text) || strings.Contains(e.Detail, "wrong-word") {
			t.Errorf("%s: %s: %s", tt.a.Username, e.Reach, e.Detail)
		}
		if e.Reach == planner.ReachServing && (!e.Linearizable.Value || len(e.Members.Value) != 3) {
			t.Errorf("%s: %+v", tt.a.Username, e)
		}
		if e.Reach != planner.ReachServing && e.MemberID != "" {
			t.Errorf("%s: fields without serving: %+v", tt.a.Username, e)
		}
	}
	if f := CompareKV(context.Background(), endpointsOf(all), user("root", "right"), limit); !f.Known() || !f.Value.Equal {
		t.Errorf("root: %+v", f)
	}
	if f := CompareKV(context.Background(), endpointsOf(all), user("guest", "guest"), limit); f.Known() || !strings.Contains(f.Why, "permission denied") {
		t.Errorf("guest: %+v", f)
	}
	if _, _, err := Count(context.Background(), all[0].client, user("guest", "guest")); err == nil {
		t.Error("guest counts")
	}
	if _, keys, err := Count(context.Background(), all[0].client, user("root", "right")); err != nil || keys != 1 {
		t.Error(keys, err)
	}
	if _, _, err := Count(context.Background(), all[0].client, user("root", "wrong-word")); err == nil || strings.Contains(err.Error(), "wrong-word") || strings.Contains(err.Error(), "rpc error") {
		t.Error(err)
	}

	// Without quorum no password can be checked.
	all[1].Close()
	all[2].Close()
	within(t, limit, func() {
		e := Probe(context.Background(), []string{all[0].client}, user("root", "right"), limit)
		if e.Reach != planner.ReachHangs || !strings.Contains(e.Detail, "without quorum") {
			t.Errorf("no quorum: %s: %s", e.Reach, e.Detail)
		}
	})
}

func TestAlarms(t *testing.T) {
	t.Parallel()
	l := startOne(t, "alarmed", nil)
	c := l.cli(t, nil)
	own := uint64(l.Server.MemberID())
	raise := func(id uint64) {
		t.Helper()
		req := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: etcdserverpb.AlarmType_NOSPACE}
		if _, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Alarm(bounded(t), req); err != nil {
			t.Fatal(err)
		}
	}
	raise(0xabc)
	raise(own)
	e := Probe(context.Background(), []string{l.client}, Access{}, 3*time.Second)
	got := strings.Join(e.Alarms, ", ")
	if len(e.Alarms) != 2 || !strings.Contains(got, "NOSPACE on abc") || !strings.Contains(got, "NOSPACE on "+hexID(own)) {
		t.Errorf("alarms: %q", got)
	}
	if !e.Linearizable.Value {
		t.Errorf("linearizable under NOSPACE: %+v", e.Linearizable)
	}
	endpoints := []string{"http://" + freeAddr(t), l.client}
	done, err := Disarm(context.Background(), endpoints, Access{}, func(id string) bool { return id == hexID(own) })
	if err != nil || len(done) != 1 || done[0] != "NOSPACE on abc" {
		t.Errorf("%v %v", done, err)
	}
	list, err := c.AlarmList(bounded(t))
	if err != nil || len(list.Alarms) != 1 || list.Alarms[0].MemberID != own {
		t.Errorf("%v %v", list, err)
	}
	if _, err := Disarm(context.Background(), endpoints[:1], Access{}, func(string) bool { return true }); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	if _, err := Disarm(context.Background(), endpoints, Access{}, nil); err == nil {
		t.Error("disarmed without a list")
	}
}

// A stopped server whose port somebody else accepts on must not be waited for.
func TestCallsAreBounded(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(net.Conn){"silent": silent, "http/2": settingsThen, "resets": resets} {
		url := "http://" + listen(t, f)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		within(t, time.Second, func() {
			if _, _, err := Count(ctx, url, Access{}); err == nil {
				t.Errorf("%s: counted", name)
			} else {
				checkDetail(t, err.Error())
			}
		})
		within(t, time.Second, func() {
			if f := CompareKV(context.Background(), map[string]string{"m1": url}, Access{}, time.Second); f.Known() || !strings.HasPrefix(f.Why, "m1: ") {
				t.Errorf("%s: %+v", name, f)
			}
		})
	}
}
