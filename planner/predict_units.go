package planner

import "maps"

// What becomes of a member's systemd unit.

// started is the unit once requorum has started it.
func (u *Unit) started(m *StartMember) *Unit {
	if u == nil {
		return nil
	}
	out := *u
	out.Load, out.Enabled, out.Barred, out.Undone, out.Unborn = "loaded", "enabled", false, "", false
	if len(m.Program) > 0 {
		out.Program = m.Program
	}
	if len(m.Files) == 0 {
		return &out
	}
	out.Ours, out.Files = true, maps.Clone(u.Files)
	if out.Files == nil {
		out.Files = map[string]string{}
	}
	for _, f := range m.Files {
		out.Files[f.Path] = f.Text
	}
	if out.Fragment == "" {
		out.Fragment = m.Files[0].Path
	}
	return &out
}

// barred is the unit of a member that was fenced, or whose data went aside.
func (u *Unit) barred() *Unit {
	if u == nil || u.Load == "not-found" {
		return u
	}
	out := *u
	out.Barred, out.Enabled = true, "disabled"
	return &out
}
