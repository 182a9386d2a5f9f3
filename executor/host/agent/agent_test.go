package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// fake is a machine whose acts take as long as the test wants. What real machines do
// is tested in package ssh.
type fake struct {
	Machine
	claim    func(ctx context.Context) error
	restore  func(ctx context.Context, tell host.Progress) error
	mu       sync.Mutex
	released int
	taken    bytes.Buffer
}

func (f *fake) Claim(ctx context.Context, _ planner.Claim) error { return f.claim(ctx) }

func (f *fake) Restore(ctx context.Context, _ planner.Restore, tell host.Progress) error {
	return f.restore(ctx, tell)
}

func (f *fake) Lock(context.Context, []planner.Place, host.Holder) (host.Lock, error) {
	return fakeLock{f}, nil
}

func (f *fake) Take(_ context.Context, _ host.Incoming, fill host.Fill) (string, error) {
	_, err := fill(int64(f.taken.Len()), &f.taken)
	return "/there", err
}

type fakeLock struct{ f *fake }

func (l fakeLock) Held(context.Context) error { return nil }
func (l fakeLock) Note(string) error          { return nil }
func (l fakeLock) Epochs() map[string]int64   { return map[string]int64{"m1": 1} }

func (l fakeLock) Release() error {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.f.released++
	return nil
}

func (f *fake) releases() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.released
}

// wire is an agent in this process, and what ends its streams.
type wire struct {
	in, out *io.PipeWriter
	served  chan error
}

func (w *wire) cut() { w.in.CloseWithError(io.EOF); w.out.CloseWithError(errors.New("cut")) }

func dial(t *testing.T, f Machine) (*Client, *wire) {
	t.Helper()
	toAgent, in := io.Pipe()
	fromAgent, out := io.Pipe()
	w := &wire{in: in, out: out, served: make(chan error, 1)}
	go func() { w.served <- Serve(context.Background(), f, "v", toAgent, out) }()
	c, err := Dial(t.Context(), "v", fromAgent, in, w.cut)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, w
}

func remoteOf(t *testing.T, f Machine) (*Remote, func() *wire) {
	var last *wire
	r := NewRemote(Options{Name: "m", Connect: func(context.Context) (*Client, error) {
		c, w := dial(t, f)
		last = w
		return c, nil
	}})
	t.Cleanup(func() { _ = r.Close() })
	return r, func() *wire { return last }
}

// An act goes on when its connection ends, and its lock is held until then.
func TestActNeverOutlivesItsLock(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	var cut error
	f := &fake{claim: func(ctx context.Context) error {
		close(began)
		<-finish
		cut = ctx.Err()
		return cut
	}}
	c, w := dial(t, f)
	var n lockNumber
	if err := c.call(t.Context(), "Lock", nil, lockArgs{}, &n, nil); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.call(context.Background(), "Claim", []uint64{n.Lock}, planner.Claim{}, nil, nil) }()
	<-began
	w.cut()
	if err := <-ended; !errors.Is(err, errLost) {
		t.Errorf("the other side was told %v", err)
	}
	select {
	case err := <-w.served:
		t.Fatalf("the agent ended in the midst of an act: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if f.releases() != 0 {
		t.Error("the lock was given up in the midst of an act")
	}
	close(finish)
	select {
	case err := <-w.served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the agent did not end")
	}
	if f.releases() != 1 {
		t.Error("the lock was not given up")
	}
	if cut != nil {
		t.Errorf("the act was told to leave off: %v", cut)
	}
}

// What takes long is left at its next safe point.
func TestLongWorkIsLeft(t *testing.T) {
	began := make(chan struct{})
	f := &fake{restore: func(ctx context.Context, _ host.Progress) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}}
	c, w := dial(t, f)
	go func() { _ = c.call(context.Background(), "Restore", nil, planner.Restore{}, nil, nil) }()
	<-began
	w.cut()
	select {
	case <-w.served:
	case <-time.After(5 * time.Second):
		t.Fatal("the agent did not end")
	}
}

// Giving up waits for what the far side says.
func TestCancel(t *testing.T) {
	left := errors.New("left at a safe point")
	f := &fake{restore: func(ctx context.Context, tell host.Progress) error {
		tell("half", 1, 2)
		<-ctx.Done()
		time.Sleep(100 * time.Millisecond)
		return fmt.Errorf("%w: %w", left, ctx.Err())
	}}
	r, _ := remoteOf(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	var told []string
	err := r.Restore(ctx, planner.Restore{}, func(what string, done, total int64) {
		told = append(told, fmt.Sprint(what, done, total))
		cancel()
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), left.Error()) || len(told) != 1 || told[0] != "half1 2" {
		t.Errorf("%v, told %q", err, told)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Restore(short, planner.Restore{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// An act whose connection was lost is unknown without a lock, and made again under
// one.
func TestLostAct(t *testing.T) {
	var wireNow func() *wire
	calls := 0
	f := &fake{claim: func(context.Context) error {
		if calls++; calls%2 == 1 {
			wireNow().cut()
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	}}
	r, now := remoteOf(t, f)
	wireNow = now
	var unknown *host.UnknownError
	if err := r.Claim(t.Context(), planner.Claim{}); !errors.As(err, &unknown) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	calls = 0
	l, err := r.Lock(t.Context(), nil, host.Holder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Claim(t.Context(), planner.Claim{}); err != nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if err := l.Held(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStrayBytes(t *testing.T) {
	hello := "\nrequorum-agent {\"protocol\":1,\"version\":\"v\"}\n"
	for name, c := range map[string]struct{ said, want string }{
		"nothing before":  {hello, ""},
		"a banner":        {"Welcome\r\n\x00\xff no end", ""},
		"never":           {"bash: requorum: command not found\n", "command not found"},
		"too much":        {strings.Repeat("x", 100) + strings.Repeat("motd motd motd\n", 10_000), "more than 64 KB"},
		"one long line":   {strings.Repeat("y", 1<<20), "more than 64 KB"},
		"no JSON":         {"requorum-agent {{{\n", "greeting is none"},
		"no protocol":     {"requorum-agent {}\n", "greeting is none"},
		"cut in the line": {"requorum-agent {\"protocol\":1", "ended before"},
	} {
		said := c.said
		if c.want == "" && name != "nothing before" {
			said += hello
		}
		h, err := hear(bufio.NewReader(strings.NewReader(said)))
		var stray *StrayError
		if c.want == "" && (err != nil || h.Version != "v") || c.want != "" && (!errors.As(err, &stray) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for _, h := range []Hello{{Protocol: 2, Version: "v"}, {Protocol: 1, Version: "w"}} {
		if fits(h.Protocol, h.Version, "v") == "" {
			t.Errorf("%+v fits", h)
		}
	}
}

// Every type that travels comes back as it was, whatever is in it: also fields that
// a later version of the planner adds.
func TestAllTravels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range []any{
		placesArgs{}, pathArgs{}, lockArgs{}, lockNumber{}, startArgs{}, adoptArgs{}, stopArgs{}, host.Incoming{}, host.File{},
		planner.Claim{}, planner.Install{}, planner.SetAside{}, planner.Fence{}, planner.Unfence{}, planner.Restore{}, planner.Trial{}, planner.Recover{},
		[]planner.Foreign{}, map[string]string{}, planner.Fact[planner.Binary]{}, request{}, reply{}, Hello{}, ending{},
	} {
		want := reflect.New(reflect.TypeOf(v))
		fill(r, want.Elem(), 0)
		b, err := codec{}.Marshal(want.Interface())
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(v))
		if err := (codec{}).Unmarshal(b, got.Interface()); err != nil {
			t.Errorf("%T: %v", v, err)
		}
		if diff := cmp.Diff(want.Elem().Interface(), got.Elem().Interface()); diff != "" {
			t.Errorf("%T: %s", v, diff)
		}
	}
	want := map[string]host.Facts{"m1": {}}
	f := want["m1"]
	fill(r, reflect.ValueOf(&f).Elem(), 0)
	want["m1"] = f
	b, err := codec{}.Marshal(packFacts(want))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]facts
	if err := (codec{}).Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, unpackFacts(got)); diff != "" {
		t.Error(diff)
	}
	if err := strictly([]byte(`{"places":[],"new":1}`), &placesArgs{}); err == nil {
		t.Error("a field that is not known was passed over")
	}
}

// fill gives every field a value that is not its zero.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		if f := v.FieldByName("State"); f.IsValid() && f.Type() == reflect.TypeFor[planner.FactState]() {
			f.SetString(string(planner.FactKnown)) // an unknown one has no value
			fill(r, v.FieldByName("Value"), depth)
			return
		}
		for i := range v.NumField() {
			fill(r, v.Field(i), depth+1)
		}
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*planner.DataDir]() && depth > 2 {
			return // there is no fence behind a fence
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), depth+1)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(`"raw"`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(r, elem, depth+1)
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), elem)
	case reflect.String:
		v.SetString(fmt.Sprintf("%x", r.Uint64()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(r.Float64())
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(r.Uint64() >> 1))
	case reflect.Uint32:
		v.SetUint(uint64(r.Uint32()))
	case reflect.Uint64:
		v.SetUint(r.Uint64())
	default:
		panic(v.Kind().String())
	}
}

// A file arrives as it was sent, over a fast line and over a slow one, where it is
// packed.
func TestFiles(t *testing.T) {
	plain := bytes.Repeat([]byte("a key and its value, again and again "), 1<<17) // 4.7 MB
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, content := range map[string][]byte{"text": plain, "noise": noise, "empty": nil, "one": {1}} {
		f := &fake{}
		r, _ := remoteOf(t, f)
		path, err := r.Take(t.Context(), host.Incoming{}, func(from int64, w io.Writer) (string, error) {
			_, err := w.Write(content[from:])
			return "sum", err
		})
		if err != nil || path != "/there" || !bytes.Equal(f.taken.Bytes(), content) {
			t.Errorf("%s: %d of %d bytes at %q: %v", name, f.taken.Len(), len(content), path, err)
		}
	}
	broken := errors.New("it can't be read")
	f := &fake{}
	r, _ := remoteOf(t, f)
	if _, err := r.Take(t.Context(), host.Incoming{}, func(int64, io.Writer) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("a file that can't be read: %v", err)
	}
}

func TestPackingPaysOnSlowLines(t *testing.T) {
	content := bytes.Repeat([]byte("a key and its value, again and again "), 40*blockSize/37)
	for _, c := range []struct {
		name    string
		perByte time.Duration // of 1,000
		packed  bool
	}{{"slow", 40 * time.Microsecond, true}, {"fast", 0, false}} {
		sent := 0
		p, err := newPacker(func(b *block) error {
			sent += len(*b)
			time.Sleep(time.Duration(len(*b)) * c.perByte / 1000)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := p.end(ending{}); err != nil {
			t.Fatal(err)
		}
		if packed := sent < len(content)/2; packed != c.packed {
			t.Errorf("%s: %d of %d bytes were sent", c.name, sent, len(content))
		}
	}
}
