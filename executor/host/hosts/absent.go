package hosts

import (
	"context"
	"io"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/planner"
)

// absent is a machine that requorum has no access to.
type absent struct{ why error }

var _ machine = (*absent)(nil)

// Observe gives unknown facts, with the reason.
func (x *absent) Observe(_ context.Context, places []planner.Place) (map[string]host.Facts, error) {
	return agent.Unknown(places, x.why.Error()), nil
}

func (x *absent) Etcds(context.Context) []planner.Foreign { return nil }

func (x *absent) Prove(context.Context, []planner.Place, host.Progress) (map[string]string, error) {
	return nil, nil
}

func (x *absent) Binary(context.Context, string) planner.Fact[planner.Binary] {
	return planner.Unknown[planner.Binary](x.why.Error())
}

func (x *absent) Keys(_ context.Context, asks []host.KeyAsk) map[string]planner.Fact[host.Keys] {
	return host.UnknownKeys(asks, x.why.Error())
}

func (x *absent) Lock(context.Context, []planner.Place, host.Holder) (host.Lock, error) {
	return nil, x.why
}

func (x *absent) Locks(_ context.Context, places []planner.Place) (map[string]host.LockState, error) {
	out := map[string]host.LockState{}
	for _, p := range places {
		out[p.Name] = host.LockState{Held: planner.Unknown[bool](x.why.Error())}
	}
	return out, nil
}

func (x *absent) BreakLock(context.Context, planner.Place, int64) error         { return x.why }
func (x *absent) Record(context.Context, planner.Place, string, []byte) error   { return x.why }
func (x *absent) Claim(context.Context, planner.Claim) error                    { return x.why }
func (x *absent) Restore(context.Context, planner.Restore, host.Progress) error { return x.why }
func (x *absent) Trial(context.Context, planner.Trial, host.Progress) error     { return x.why }
func (x *absent) Install(context.Context, planner.Install) error                { return x.why }
func (x *absent) Start(context.Context, []planner.StartMember) error            { return x.why }
func (x *absent) Adopt(context.Context, []planner.AdoptMember) error            { return x.why }
func (x *absent) Stop(context.Context, string, []planner.StopMember) error      { return x.why }
func (x *absent) SetAside(context.Context, planner.SetAside) error              { return x.why }
func (x *absent) Fence(context.Context, planner.Fence) error                    { return x.why }
func (x *absent) Unfence(context.Context, planner.Unfence) error                { return x.why }
func (x *absent) Recover(context.Context, planner.Recover, host.Progress) error { return x.why }
func (x *absent) Drop(context.Context, host.Incoming) error                     { return x.why }

func (x *absent) Describe(context.Context, string) (host.File, error) { return host.File{}, x.why }

func (x *absent) Give(context.Context, string, int64, io.Writer) (string, error) { return "", x.why }

func (x *absent) Take(context.Context, host.Incoming, host.Fill) (string, error) { return "", x.why }
