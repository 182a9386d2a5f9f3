package snapshot

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func files(t *testing.T, contents ...[]byte) []*os.File {
	t.Helper()
	var list []*os.File
	for i, b := range contents {
		f := must(os.Create(filepath.Join(t.TempDir(), string(rune('a'+i)))))(t)
		t.Cleanup(func() { f.Close() })
		must(f.Write(b))(t)
		list = append(list, f)
	}
	return list
}

// Wherever a copy differs, shorter and longer ones too, it is made the same; what
// was written is what is proven again.
func TestEqualise(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	first := make([]byte, 5<<20+4096)
	for i := range first {
		first[i] = byte(rnd.Uint32())
	}
	flipped := bytes.Clone(first)
	places := []int{0, 4095, 4096, 1<<20 - 1, 1 << 20, 3<<20 + 17, len(first) - 1}
	for _, at := range places {
		flipped[at] ^= 1
	}
	f := files(t, first, flipped, first[:3<<20], append(bytes.Clone(first), 1, 2, 3), first)
	spans, err := equalise(ctx, f[0], f[1:])
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range f[1:] {
		if !bytes.Equal(must(os.ReadFile(g.Name()))(t), first) {
			t.Errorf("%s is not the same", g.Name())
		}
	}
	var n int64
	for _, s := range spans {
		n += s.to - s.from
	}
	// One block for each flipped place but two that share one, and what was cut off.
	if want := int64(7*4096) + int64(len(first)-3<<20); n > want || n < want-2*4096 {
		t.Errorf("%d bytes were written, want about %d", n, want)
	}
	if err := proveEqual(ctx, f[0], f[1:], spans); err != nil {
		t.Error(err)
	}
	for _, at := range places {
		must(f[1].WriteAt([]byte{^first[at]}, int64(at)))(t)
		if err := proveEqual(ctx, f[0], f[1:], spans); err == nil || !strings.Contains(err.Error(), "differs") {
			t.Errorf("byte %d: %v", at, err)
		}
		must(f[1].WriteAt(first[at:at+1], int64(at)))(t)
	}
}
