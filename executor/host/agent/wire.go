package agent

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

const service = "requorum.Agent"

// messageLimit is for the facts of a machine: a log's checksums, lists of keys.
const messageLimit = 64 << 20

// request is what this side sends: the whole of what is asked first, and perhaps,
// later, that it is to be given up.
type request struct {
	Body json.RawMessage `json:"body,omitempty"`
	// Left is how long it may take; 0 for as long as it takes.
	Left time.Duration `json:"left,omitempty"`
	// Locks are those that have to be held for it to be done.
	Locks  []uint64 `json:"locks,omitempty"`
	Cancel bool     `json:"cancel,omitempty"`
}

// reply is what comes back: how far it is, any number of times, then how it ended.
type reply struct {
	Progress *progress       `json:"progress,omitempty"`
	Done     bool            `json:"done,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
	Error    *failure        `json:"error,omitempty"`
}

type progress struct {
	What  string `json:"what"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// failure is an error with what callers tell errors apart by.
type failure struct {
	Text     string            `json:"text"`
	Canceled bool              `json:"canceled,omitempty"`
	Deadline bool              `json:"deadline,omitempty"`
	Locked   *host.LockedError `json:"locked,omitempty"`
	Lost     *host.LostError   `json:"lost,omitempty"`
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error(), Canceled: errors.Is(err, context.Canceled), Deadline: errors.Is(err, context.DeadlineExceeded)}
	_ = errors.As(err, &f.Locked)
	_ = errors.As(err, &f.Lost)
	return f
}

// Error implements error.
func (f *failure) Error() string { return f.Text }

// Is makes the error one of the context's where it was on the far side.
func (f *failure) Is(target error) bool {
	return f.Canceled && target == context.Canceled || f.Deadline && target == context.DeadlineExceeded
}

// Unwrap gives the holder of a lock, or why one was lost.
func (f *failure) Unwrap() error {
	switch {
	case f.Locked != nil:
		return f.Locked
	case f.Lost != nil:
		return f.Lost
	}
	return nil
}

// facts are host.Facts with what their JSON form leaves out.
type facts struct {
	host.Facts
	Sums   []uint32 `json:"sums,omitempty"`   // of Data's log
	Behind []uint32 `json:"behind,omitempty"` // of the log behind the fence
}

func packFacts(in map[string]host.Facts) map[string]facts {
	out := map[string]facts{}
	for name, f := range in {
		p := facts{Facts: f}
		if d := f.Data.Value; d.Log != nil {
			p.Sums = d.Log.Sums
		}
		if d := f.Data.Value.Fenced; d != nil && d.Log != nil {
			p.Behind = d.Log.Sums
		}
		out[name] = p
	}
	return out
}

func unpackFacts(in map[string]facts) map[string]host.Facts {
	out := map[string]host.Facts{}
	for name, p := range in {
		if d := p.Facts.Data.Value; d.Log != nil {
			d.Log.Sums = p.Sums
		}
		if d := p.Facts.Data.Value.Fenced; d != nil && d.Log != nil {
			d.Log.Sums = p.Behind
		}
		out[name] = p.Facts
	}
	return out
}

// The arguments that are more than an action, or less.
type (
	placesArgs struct {
		Places []planner.Place `json:"places"`
	}
	keysArgs struct {
		Asks []host.KeyAsk `json:"asks"`
	}
	pathArgs struct {
		Path string `json:"path"`
		From int64  `json:"from,omitempty"`
	}
	lockArgs struct {
		Places []planner.Place `json:"places"`
		Holder host.Holder     `json:"holder"`
		// Again are the epochs under which the holder had it before the connection was
		// lost.
		Again map[string]int64 `json:"again,omitempty"`
	}
	lockNumber struct {
		Lock   uint64           `json:"lock"`
		Epochs map[string]int64 `json:"epochs,omitempty"` // told when it is taken
	}
	noteArgs struct {
		Lock uint64 `json:"lock"`
		Plan string `json:"plan"`
	}
	breakArgs struct {
		Place planner.Place `json:"place"`
		Epoch int64         `json:"epoch"`
	}
	recordArgs struct {
		Place planner.Place `json:"place"`
		Run   string        `json:"run"`
		Lines []byte        `json:"lines"`
	}
	startArgs struct {
		Members []planner.StartMember `json:"members"`
	}
	adoptArgs struct {
		Members []planner.AdoptMember `json:"members"`
	}
	stopArgs struct {
		Cluster string               `json:"cluster"`
		Members []planner.StopMember `json:"members"`
	}
	nothing struct{}
)

// method is one request of host.Host, as the far side does it.
type method struct {
	// finish is whether it is brought to its end after the connection was lost:
	// half of it is worse than all of it, and it does not take long.
	finish bool
	do     func(ctx context.Context, s *server, body json.RawMessage, tell host.Progress) (any, error)
}

// asks is a method that takes a T.
func asks[T any](do func(ctx context.Context, s *server, in T, tell host.Progress) (any, error)) method {
	return method{do: func(ctx context.Context, s *server, body json.RawMessage, tell host.Progress) (any, error) {
		var in T
		if err := strictly(body, &in); err != nil {
			return nil, err
		}
		return do(ctx, s, in, tell)
	}}
}

// acts is one that changes something and is finished whatever happens.
func acts[T any](do func(ctx context.Context, h host.Host, in T) error) method {
	m := asks(func(ctx context.Context, s *server, in T, _ host.Progress) (any, error) {
		return nil, do(ctx, s.host, in)
	})
	m.finish = true
	return m
}

// works is one that takes long, and is left at its next safe point.
func works[T any](do func(ctx context.Context, h host.Host, in T, tell host.Progress) error) method {
	return asks(func(ctx context.Context, s *server, in T, tell host.Progress) (any, error) {
		return nil, do(ctx, s.host, in, tell)
	})
}

// methods has every request by name.
var methods = map[string]method{
	"Observe": asks(func(ctx context.Context, s *server, in placesArgs, _ host.Progress) (any, error) {
		f, err := s.host.Observe(ctx, in.Places)
		return packFacts(f), err
	}),
	"Etcds": asks(func(ctx context.Context, s *server, _ nothing, _ host.Progress) (any, error) {
		return s.host.Etcds(ctx), nil
	}),
	"Prove": asks(func(ctx context.Context, s *server, in placesArgs, tell host.Progress) (any, error) {
		return s.host.Prove(ctx, in.Places, tell)
	}),
	"Binary": asks(func(ctx context.Context, s *server, in pathArgs, _ host.Progress) (any, error) {
		return s.host.Binary(ctx, in.Path), nil
	}),
	"Keys": asks(func(ctx context.Context, s *server, in keysArgs, _ host.Progress) (any, error) {
		return s.host.Keys(ctx, in.Asks), nil
	}),
	"Lock": asks(func(ctx context.Context, s *server, in lockArgs, _ host.Progress) (any, error) {
		return s.lock(ctx, in)
	}),
	"Held": asks(func(ctx context.Context, s *server, in lockNumber, _ host.Progress) (any, error) {
		return nil, s.held(ctx, in.Lock)
	}),
	"Release": asks(func(_ context.Context, s *server, in lockNumber, _ host.Progress) (any, error) {
		return nil, s.release(in.Lock)
	}),
	"Note": asks(func(_ context.Context, s *server, in noteArgs, _ host.Progress) (any, error) {
		return nil, s.note(in)
	}),
	"Locks": asks(func(ctx context.Context, s *server, in placesArgs, _ host.Progress) (any, error) {
		return s.host.Locks(ctx, in.Places)
	}),
	"BreakLock": asks(func(ctx context.Context, s *server, in breakArgs, _ host.Progress) (any, error) {
		return nil, s.host.BreakLock(ctx, in.Place, in.Epoch)
	}),
	"Record": asks(func(ctx context.Context, s *server, in recordArgs, _ host.Progress) (any, error) {
		return nil, s.host.Record(ctx, in.Place, in.Run, in.Lines)
	}),
	"Describe": asks(func(ctx context.Context, s *server, in pathArgs, _ host.Progress) (any, error) {
		return s.files.Describe(ctx, in.Path)
	}),
	"Drop": asks(func(ctx context.Context, s *server, in host.Incoming, _ host.Progress) (any, error) {
		return nil, s.files.Drop(ctx, in)
	}),

	"Claim":    acts(func(ctx context.Context, h host.Host, in planner.Claim) error { return h.Claim(ctx, in) }),
	"Install":  acts(func(ctx context.Context, h host.Host, in planner.Install) error { return h.Install(ctx, in) }),
	"Start":    acts(func(ctx context.Context, h host.Host, in startArgs) error { return h.Start(ctx, in.Members) }),
	"Adopt":    acts(func(ctx context.Context, h host.Host, in adoptArgs) error { return h.Adopt(ctx, in.Members) }),
	"Stop":     acts(func(ctx context.Context, h host.Host, in stopArgs) error { return h.Stop(ctx, in.Cluster, in.Members) }),
	"SetAside": acts(func(ctx context.Context, h host.Host, in planner.SetAside) error { return h.SetAside(ctx, in) }),
	"Fence":    acts(func(ctx context.Context, h host.Host, in planner.Fence) error { return h.Fence(ctx, in) }),
	"Unfence":  acts(func(ctx context.Context, h host.Host, in planner.Unfence) error { return h.Unfence(ctx, in) }),

	"Restore": works(func(ctx context.Context, h host.Host, in planner.Restore, tell host.Progress) error {
		return h.Restore(ctx, in, tell)
	}),
	"Trial": works(func(ctx context.Context, h host.Host, in planner.Trial, tell host.Progress) error {
		return h.Trial(ctx, in, tell)
	}),
	"Recover": works(func(ctx context.Context, h host.Host, in planner.Recover, tell host.Progress) error {
		return h.Recover(ctx, in, tell)
	}),
}

// desc is the service as gRPC has it.
func desc() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
	add := func(name string, handle func(*server, grpc.ServerStream) error) {
		d.Streams = append(d.Streams, grpc.StreamDesc{
			StreamName: name, ServerStreams: true, ClientStreams: true,
			Handler: func(srv any, stream grpc.ServerStream) error { return handle(srv.(*server), stream) },
		})
	}
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		m := methods[name]
		add(name, func(s *server, stream grpc.ServerStream) error { return s.serve(m, stream) })
	}
	add("Give", (*server).give)
	add("Take", (*server).take)
	add("Socket", (*server).socket)
	return d
}
