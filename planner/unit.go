package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Members under systemd. What a unit runs is said on its command line: flags there
// beat the variables and files that a packaged or hand-made unit reads, which are
// then left out, for etcd ends where one setting comes from both (pkg/flags
// verifyEnv). A configuration file of etcd's would hide both, but etcd does not tell
// of a name in it that it does not know; an unknown flag ends it with a clear word.

// UnitDir is where requorum writes units and drop-ins.
const UnitDir = "/etc/systemd/system"

// unitMark begins every file that requorum writes there.
const unitMark = "# Written by requorum"

// OwnUnitText reports whether requorum has written a file of a unit.
func OwnUnitText(text string) bool { return strings.HasPrefix(text, unitMark) }

// UnitPath is where a unit of requorum's own lies, DropInPath where its settings for
// somebody else's unit do: the last of the drop-ins, so that none comes after it.
func UnitPath(unit string) string   { return UnitDir + "/" + unit }
func DropInPath(unit string) string { return UnitDir + "/" + unit + ".d/zz-requorum.conf" }

// unit is the member's systemd unit as it was seen; nil for another kind of service,
// and where it is not known.
func (m *member) unit() *Unit {
	if m.at.Unit == "" || !m.seen.Service.Known() {
		return nil
	}
	return m.seen.Service.Value.Unit
}

// binaryOf is the etcd that the member is to run: the file's, or else the one that
// its unit has; "" for the one inside requorum.
func (b *builder) binaryOf(m *member) string {
	if e := b.cluster.Etcd; e.EachMinor() {
		return e.BinaryFor(minorName(m.minor))
	} else if e.Binary != "" {
		return e.Binary
	}
	if u := m.unit(); u != nil && len(u.Program) == 1 {
		return u.Program[0]
	}
	return ""
}

// useUnits has the services that a step starts run what it says: it adds the files
// that have to be otherwise first, and shows how they change.
func (b *builder) useUnits(s *Step) {
	switch a := s.Action.(type) {
	case Start:
		for i := range a.Members {
			b.useUnit(s, &a.Members[i])
		}
	case Join:
		b.useUnit(s, &a.StartMember)
		s.Action = a
	case Adopt:
		for i := range a.Members {
			b.useUnit(s, &a.Members[i].StartMember)
		}
	}
}

func (b *builder) useUnit(s *Step, x *StartMember) {
	i := slices.IndexFunc(b.members, func(m *member) bool { return m.spec.Name == x.Name })
	if x.Unit == "" || i < 0 {
		return
	}
	m := b.members[i]
	u := m.unit()
	if u == nil {
		return
	}
	x.Binary = b.binaryOf(m)
	x.Carried = b.carried(m, m.nextMinor())
	for _, flag := range x.Carried {
		name, _, _ := strings.Cut(flag, "=")
		if !slices.ContainsFunc(x.Args, func(a string) bool { return strings.HasPrefix(a, name+"=") }) {
			x.Args = append(x.Args, flag)
		}
	}
	x.Program = u.Own
	if x.Binary != "" {
		x.Program = []string{x.Binary}
	}
	s.Equivalent = unitCommands(s.Equivalent, x)
	if u.Enabled == "transient" {
		h, _ := b.cluster.Host(m.spec.Host)
		b.unitRefusal = refusal(CodeUnitUnusable, h.Service.Pos, u.Name+" is a transient unit, and would have to be started again",
			fmt.Sprintf("systemd-run has made it: it goes away when %s stops, and nothing brings it back.", m.spec.Name),
			"Make a unit of its own below /etc/systemd/system, under another name, and name that in the file.",
			"Or name one there that does not exist: requorum writes it.")
		return
	}
	written := b.unitFiles[x.Name] // by an earlier step
	if written == nil && b.asItIs(m, u, x) {
		return
	}
	if u.Problem != "" || u.Program == nil && !u.Ours && u.Load != "not-found" && b.cluster.Etcd.Binary == "" {
		h, _ := b.cluster.Host(m.spec.Host)
		b.unitRefusal = refusal(CodeUnitUnusable, h.Service.Pos, u.Name+" would have to run something else, and what it runs now can't be told",
			orWord(u.Problem, "Its ExecStart is no etcd, but a script or another program")+".",
			"Name the etcd in the file, etcd { binary = … }: then a drop-in has the unit run that, with the settings that its process has now.",
			"Or change the unit by hand, and plan again.")
	}
	path, text := UnitFile(u, x)
	now, there := u.Files[path]
	if written != nil {
		now, there = *written, true
	}
	if there && now == text {
		return
	}
	if b.unitFiles == nil {
		b.unitFiles = map[string]*string{}
	}
	b.unitFiles[x.Name] = &text
	f := FileChange{Path: path, Text: text}
	if there {
		sum := sha256.Sum256([]byte(now))
		f.Was = hex.EncodeToString(sum[:])
	}
	x.Files = []FileChange{f}
	s.Files = append(s.Files, FileDiff{Member: x.Name, Host: x.Host, Path: path, New: !there, Lines: diffLines(now, text)})
}

// unitCommands replaces etcd's bare command by the unit's.
func unitCommands(by []string, x *StartMember) []string {
	out := slices.DeleteFunc(slices.Clone(by), func(c string) bool { return strings.Contains(c, "--data-dir="+x.DataDir+" ") })
	return append(out, "systemctl daemon-reload; systemctl enable --now "+x.Unit+"  # for "+x.Name)
}

// asItIs reports whether somebody else's unit starts the member as the file wants,
// on the data that it has: then nothing of it is touched.
func (b *builder) asItIs(m *member, u *Unit, x *StartMember) bool {
	d := m.survivor()
	return !u.Ours && u.Load == "loaded" && !u.unread() && b.unitDiffers(m) == "" && !x.Bootstrap && !Closed(x.Args) && d.ClusterID == x.ClusterID && d.MemberID == x.MemberID &&
		m.runsWith() != nil && b.settingsDiffer(m) == "" && slices.Equal(u.Program, x.Program)
}

// unitDiffers says how what the unit of a running member would start next differs from
// what the file leads to: after a crash, or a reboot, the member would not be the one
// that runs. "" where it doesn't, or can't be told.
func (b *builder) unitDiffers(m *member) string {
	u := m.unit()
	if u == nil || m.foreign() != nil || m.seen.Service.Value.State != ServiceRunning {
		return ""
	}
	if bin := b.binaryOf(m); b.cluster.Etcd.Binary != "" && u.Program != nil && !slices.Equal(u.Program, []string{bin}) {
		return strings.Join(u.Program, " ") + " -> " + bin
	}
	if u.Next == nil {
		return ""
	}
	return SettingsDiff(u.Next, append(b.argsOf(m, m.runningMinor(), "", ""), b.carried(m, m.runningMinor())...))
}

// unread reports whether what the unit would start is not known, for somebody changed its
// files and systemd has not read them yet. What requorum has written says all that counts.
func (u *Unit) unread() bool { return u.Stale && !u.Ours && !u.Barred }

// UnitFile is the file that makes the unit run what x says, once it has data: a unit of
// requorum's own where there is none, or a drop-in to the one that is there.
func UnitFile(u *Unit, x *StartMember) (path, text string) {
	own := UnitPath(u.Name)
	head := fmt.Sprintf("%s for member %s of cluster %s; `requorum apply` writes it anew.\n", unitMark, x.Name, x.Cluster)
	log := x.WALDir
	if log == "" {
		log = x.DataDir + "/member/wal"
	}
	// An absent data directory is a lost one: etcd is not started on it.
	guard := "AssertPathIsDirectory=" + specifiers(log) + "\n"
	run := "ExecStart=" + ExecStart(slices.Concat(x.Program, lasting(x.Args))) + "\n"
	// Without a quorum etcd reports only when there is one again.
	start := "TimeoutStartSec=infinity\n"
	if Closed(x.Args) { // the socket for requorum is in a folder of the unit's user
		dir := specifiers(unitRunDir(u.Name))
		start += "RuntimeDirectory=" + dir + "\nRuntimeDirectoryMode=0700\nWorkingDirectory=/run/" + dir + "\n"
	}
	if _, written := u.Files[own]; written && OwnUnitText(u.Files[own]) || u.Fragment == "" && u.Load != "masked" {
		return own, head + "[Unit]\nDescription=etcd, member " + specifiers(x.Name) + " of cluster " + specifiers(x.Cluster) + "\n" +
			"Documentation=https://etcd.io/docs\nWants=network-online.target\nAfter=network-online.target\n" +
			"RequiresMountsFor=" + quoted(x.DataDir) + "\nStartLimitIntervalSec=0\n" + guard +
			"\n[Service]\nType=notify\n" + run + start + "Restart=on-failure\nRestartSec=2s\nLimitNOFILE=65536\n" +
			"\n[Install]\nWantedBy=multi-user.target\n"
	}
	var env strings.Builder
	for _, v := range u.Environment {
		env.WriteString("Environment=" + quoted(v) + "\n")
	}
	return DropInPath(u.Name), head +
		"# All of etcd's settings are here: variables and files that the unit names for it are not read.\n" +
		"[Unit]\n" + guard + "\n[Service]\nEnvironment=\nEnvironmentFile=\n" + env.String() + resets(u) + "ExecStart=\n" + run + start
}

// resets take back what the unit does beside running etcd, for it was made for what it ran
// before: what a script forks, what is done to the data before a start, who leaves the
// cluster after a stop. They are in the drop-in, so that the plan shows them; what one
// that is there resets stays so, for the unit shows no more of it.
func resets(u *Unit) string {
	var out strings.Builder
	was := "\n" + u.Files[DropInPath(u.Name)]
	for _, r := range []struct{ name, line string }{
		{"Type", "Type=notify\n"}, {"PIDFile", "PIDFile=\n"}, {"RemainAfterExit", "RemainAfterExit=no\n"},
		{"ExecStartPre", "ExecStartPre=\n"}, {"ExecStartPost", "ExecStartPost=\n"}, {"ExecStop", "ExecStop=\n"}, {"ExecStopPost", "ExecStopPost=\n"},
	} {
		if slices.Contains(u.Acts, r.name) || strings.Contains(was, "\n"+r.line) {
			out.WriteString(r.line)
		}
	}
	return out.String()
}

// lasting are the arguments of a member that has data: those about its beginning mean
// nothing any more, but that an absent directory must not become a new member.
func lasting(args []string) []string {
	out := slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		return strings.HasPrefix(a, "--initial-cluster") // and its token and state
	})
	return append(out, "--initial-cluster-state=existing")
}

// ExecStart is a command line as a unit's file has it, a flag on each line.
func ExecStart(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = quoted(a)
		if i > 0 { // of the program's own path systemd expands no variables
			words[i] = strings.ReplaceAll(words[i], "$", "$$")
		}
	}
	return strings.Join(words, " \\\n    ")
}

// quoted is a word as systemd.syntax(7) reads it.
func quoted(s string) string {
	plain := s != "" && s != ";" && !strings.ContainsAny(s, " \t\n\"'\\")
	if !plain {
		s = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
	}
	return specifiers(s)
}

func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// diffLines tells two texts apart line by line, all lines of both in order.
func diffLines(old, text string) []string {
	a, b := linesOf(old), linesOf(text)
	// common[i][j] is how many lines a[i:] and b[j:] have in common, in order.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, " "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return out
}

func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// bootStarts reports whether the unit comes back after a boot, as far as its file's state
// tells. A static one does where another wants it: a target, perhaps, or a person's own
// link.
func (u *Unit) bootStarts() bool {
	switch u.Enabled {
	case "enabled", "alias", "generated":
		return true
	case "static", "indirect":
		return u.Wanted
	}
	return false
}

// checkUnits refuses units that can't be used as they are.
func (b *builder) checkUnits() *Refusal {
	for _, m := range b.members {
		if m.at.Unit == "" {
			continue
		}
		h, _ := b.cluster.Host(m.spec.Host)
		pos := h.Service.Pos
		s, u := m.seen.Service, m.unit()
		f := m.foreign()
		switch {
		case !s.Known() && m.seen.Data.Known() && m.cond != condServing:
			return refusal(CodeUnitUnusable, pos, "it is not known how "+m.at.Unit+" stands", s.Why+".",
				"Look at systemd on its host (systemctl status "+m.at.Unit+"), then plan again.")
		case !s.Known() || u == nil:
			continue
		case u.Undone != "":
			return refusal(CodeUnitContested, pos, "somebody takes back what keeps "+u.Name+" from being started",
				fmt.Sprintf("requorum has fenced %s, and %s.", m.spec.Name, u.Undone),
				"Stop the configuration manager, or the timer, that does it on that host, until all is done.",
				"Then, where it runs: systemctl stop "+u.Name+". Plan again: the data behind the fence is as it was.")
		case f != nil && f.Keeper != "" && u.Nearest != "":
			return refusal(CodeUnitUnusable, pos, fmt.Sprintf("%s runs under %s, not under %s", m.spec.Name, u.Nearest, u.Name),
				fmt.Sprintf("There is no unit %s on its host, and process %d, which has %s open, is kept by %s.", u.Name, f.PID, m.spec.DataDir, f.Keeper),
				fmt.Sprintf("Did you mean %q? Correct unit in the file.", u.Nearest))
		case u.Load == "masked" && !u.Barred:
			return refusal(CodeUnitUnusable, pos, u.Name+" is masked, and not by requorum",
				fmt.Sprintf("Somebody does not want %s to be started.", m.spec.Name),
				"If it may: systemctl unmask "+u.Name+", then plan again.")
		case u.Load != "not-found" && u.Name != m.at.Unit:
			return refusal(CodeUnitUnusable, pos, m.at.Unit+" is another name of "+u.Name,
				"A name that a unit has from Alias= goes away when the unit is disabled, as a fence does.",
				fmt.Sprintf("Write unit = %q in the file, and plan again.", u.Name))
		case u.unread() && m.cond != condServing:
			return refusal(CodeUnitUnusable, pos, "the files of "+u.Name+" changed since systemd read them",
				fmt.Sprintf("With what %s would be started can't be told until it has.", m.spec.Name),
				"If the change is meant: systemctl daemon-reload on its host, then plan again, which shows what follows from it.")
		case u.Problem != "" && m.cond != condServing:
			return refusal(CodeUnitUnusable, pos, u.Name+" can't be used as it is", u.Problem+".",
				"Correct the unit on its host, systemctl daemon-reload, then plan again.")
		}
	}
	return nil
}
