package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// scenario is a row of the table in docs/e2e.md.
type scenario struct {
	name  string
	hosts int
	// members are those of the cluster that is there at first, on the first hosts.
	members int
	run     func(s *stage)
}

// scenarios are all of them: the procedures over ssh, the changes, then each fault.
var scenarios = []scenario{
	{"adopt a cluster of Debian's package", 3, 0, adoptPackaged},
	{"restore three members from a snapshot", 3, 3, restoreAll},
	{"recover from a survivor's data directory", 3, 3, recoverSurvivor},
	{"migrate a data directory to three members", 3, 1, grow},
	{"grow from three to five", 5, 3, grow},
	{"shrink from five to three", 5, 5, shrink},
	{"replace a host", 4, 3, replaceHost},
	{"host lost for good", 3, 3, hostLost},
	{"power-off of one host, at each step", 3, 1, powerOffOne},
	{"power-off of all hosts, at each step", 3, 1, powerOffAll},
	{"frozen host", 4, 3, frozenHost},
	{"partition of the members", 3, 3, partitionMembers},
	{"partition between requorum and a host", 3, 1, partitionController},
	{"one-way partition", 3, 1, partitionOneWay},
	{"disk full", 3, 3, diskFull},
	{"disk dead", 3, 3, diskDead},
	{"slow link", 3, 1, slowLink},
	{"sshd restarted mid-step", 3, 1, sshdRestarted},
	{"reboot of a host mid-step", 3, 1, rebootMidStep},
	{"a configuration manager fights back", 3, 3, managerFightsBack},
	{"another machine takes an interrupted run over", 3, 1, takenOver},
}

// adoptPackaged: a cluster that somebody installed from Debian's package is as the
// file says, without a restart.
func adoptPackaged(s *stage) {
	s.c = s.b.ByHand(bed.Install{})
	s.begin()
	before := s.c.Started()
	if p := s.plan(); len(p.Steps) != 0 || p.Route != "in-sync" || p.Refusal != nil {
		s.t.Errorf("there is something to do: %s: %s %+v", p.Headline, p.Steplist(), p.Refusal)
	}
	s.w.Await(s.t, 200)
	for name, now := range s.c.Started() {
		if now != before[name] {
			s.t.Errorf("%s was restarted", name)
		}
	}
}

// restoreAll: all data directories are gone, a snapshot is there.
func restoreAll(s *stage) {
	s.quiet() // what is written after the snapshot is lost
	snapshot := harness.Snapshot(s.t, s.c.Endpoints()[0], s.b.Path("home", "backup.db"))
	s.burn("m1", "m2", "m3")
	s.file.Cluster = "  snapshot { source = \"" + filepath.Base(snapshot) + "\" }\n"
	s.settle()
}

// burn takes the power from all hosts and boots them again, some of them as new
// machines, on which nothing was ever installed.
func (s *stage) burn(names ...string) {
	s.b.PowerOff()
	for _, n := range names {
		s.b.Host(n).Reinstall()
	}
	s.b.PowerOn()
	s.b.RemovePackage()
}

// recoverSurvivor: two of three disks are gone.
func recoverSurvivor(s *stage) {
	s.quiet() // what m1's disk does not have nobody can bring back
	s.burn("m2", "m3")
	s.settle()
}

// grow: all hosts become members.
func grow(s *stage) {
	s.addRest()
	s.settle()
}

// addRest puts all hosts into the file.
func (s *stage) addRest() {
	for _, h := range s.b.Hosts()[len(s.c.Members):] {
		s.c.Add(h.Name)
	}
}

// shrink: the last two leave.
func shrink(s *stage) {
	s.adopt()
	s.c.Remove("m4", "m5")
	s.settle()
}

// replaceHost: m4 takes the place of m3, which still runs.
func replaceHost(s *stage) {
	s.c.Remove("m3")
	s.c.Add("m4")
	s.settle()
}

// hostLost: m3 burns down and comes back as a new machine under its old name.
func hostLost(s *stage) {
	s.adopt()
	m3 := s.b.Host("m3")
	m3.PowerOff()
	m3.Reinstall()
	s.w.Await(s.t, 500)
	m3.PowerOn()
	s.b.RemovePackage()
	s.settle()
}

// atEachStep carries the growth to all hosts out once for each step that its plan has,
// with a fault at that step, and again until there is nothing left to do.
func (s *stage) atEachStep(fault, end func(s *stage, step int)) {
	members := len(s.c.Members)
	for step := 1; ; step++ {
		s.addRest()
		a, steps := s.apply()
		a.awaitStep(step)
		fault(s, step)
		if code := a.end(); !slices.Contains([]int{0, 7}, code) {
			s.t.Errorf("step %d: apply ended with %d", step, code)
		}
		end(s, step)
		s.settle()
		s.finish()
		if step >= steps || s.t.Failed() {
			s.checked = true
			return
		}
		s.again(members)
	}
}

// victim is a host for each step, all in turn.
func (s *stage) victim(step int) *bed.Host { return s.b.Hosts()[step%len(s.b.Hosts())] }

func powerOffOne(s *stage) {
	s.atEachStep(
		func(s *stage, step int) { s.victim(step).PowerOff() },
		func(s *stage, step int) { s.victim(step).PowerOn() })
}

func powerOffAll(s *stage) {
	s.atEachStep(
		func(s *stage, _ int) { s.b.PowerOff() },
		func(s *stage, _ int) { s.b.PowerOn() })
}

// midStep carries the growth to all hosts out, with a fault at its n-th step.
func (s *stage) midStep(n int, fault func()) int {
	s.addRest()
	a, steps := s.apply()
	if n > steps {
		s.t.Fatalf("there are only %d steps", steps)
	}
	a.awaitStep(n)
	fault()
	return a.end()
}

// frozenHost: m3 hangs, while m4 is to take its place.
func frozenHost(s *stage) {
	s.adopt()
	s.b.Host("m3").Freeze()
	s.c.Remove("m3")
	s.c.Add("m4")
	s.settle()
	s.b.Host("m3").Thaw()
}

// partitionMembers: m3 is cut off from the others, not from requorum: no membership
// change helps, and none is made.
func partitionMembers(s *stage) {
	s.adopt()
	s.b.Partition([]string{"m3"}, []string{"m1", "m2"})
	p := s.plan()
	for _, step := range p.Steps {
		if slices.Contains([]string{"remove", "set-aside", "fence"}, step.Kind) {
			s.t.Errorf("a partition is answered with %s", p.Steplist())
		}
	}
	s.w.Await(s.t, 10) // every third goes to m3, which holds it for seven seconds
	s.b.Heal()
	s.settle()
}

// partitionController: requorum loses a host in the middle of a growth.
func partitionController(s *stage) {
	if code := s.midStep(3, func() { s.b.Partition([]string{bed.Controller}, []string{"m2"}) }); code != 7 {
		s.t.Errorf("apply ended with %d", code)
	}
	s.b.Heal()
	s.settle()
}

// partitionOneWay: what m2 sends to m1 arrives, what m1 sends to m2 does not.
func partitionOneWay(s *stage) {
	s.midStep(3, func() { s.b.Cut("m1", "m2") })
	s.b.Heal()
	s.settle()
}

// diskFull: m3's disk is full, its etcd ends; room is made, and it is started again.
func diskFull(s *stage) {
	s.adopt()
	m3 := s.b.Host("m3")
	m3.FillDisk(0)
	for i := 0; m3.Run("systemctl is-active --quiet "+bed.Unit).Exit == 0; i++ {
		if i == 100 {
			s.t.Fatal("etcd goes on without a place to write to")
		}
		s.w.Await(s.t, 200)
	}
	m3.FreeDisk()
	s.settle()
}

// diskDead: m3's disk fails, and a new one is put in.
func diskDead(s *stage) {
	s.adopt()
	m3 := s.b.Host("m3")
	m3.KillDisk()
	s.w.Await(s.t, 500)
	m3.PowerOff()
	m3.ReplaceDisk()
	m3.PowerOn()
	s.settle()
}

func slowLink(s *stage) {
	for _, h := range s.b.Hosts()[1:] {
		s.b.SlowLink(h.Name, "16mbit")
	}
	s.addRest()
	s.settle()
}

func sshdRestarted(s *stage) {
	s.midStep(3, func() {
		for _, h := range s.b.Hosts() {
			h.RestartSSHD()
			h.DropSessions()
		}
	})
	s.settle()
}

func rebootMidStep(s *stage) {
	s.midStep(3, func() { s.b.Host("m2").Reboot() })
	s.settle()
}

// manager is what a configuration manager does, over and over: the unit it knows is
// there, unmasked, enabled and started, and its data directory exists.
const manager = `while sleep 0.3; do
	systemctl unmask etcd.service; mkdir -p /var/lib/etcd; chown etcd: /var/lib/etcd
	systemctl enable --now etcd.service
done >/dev/null 2>&1`

// managerFightsBack: two disks are gone, and on each host something starts the old
// unit again and again while the third is recovered.
func managerFightsBack(s *stage) {
	s.quiet()
	s.burn("m2", "m3")
	for _, h := range s.b.Hosts() {
		h.WriteFile("/usr/local/sbin/manager", manager, 0o755)
		h.MustRun("systemd-run --quiet --unit=manager sh /usr/local/sbin/manager")
	}
	s.settle()
	for _, h := range s.b.Hosts() {
		h.MustRun("systemctl stop manager.service")
	}
	harness.ClusterID(s.t, s.c.Endpoints()) // one, on all
}

// takenOver: the machine that requorum runs on dies in the middle; another one, which
// has the file and nothing else, goes on.
func takenOver(s *stage) {
	s.addRest()
	a, _ := s.apply()
	a.awaitStep(4)
	s.b.KillController()
	<-a.ended
	if err := os.RemoveAll(s.b.State()); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
}

// TestScenarios makes the table.
func TestScenarios(t *testing.T) {
	onlyFull(t)
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			s := set(t, sc.hosts, sc.members)
			sc.run(s)
			if !s.checked {
				s.finish()
			}
			s.row.Scenario = sc.name
			results.add(s.row)
		})
	}
}
