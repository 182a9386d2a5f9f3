package source

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// Kept is a folder of the cache for snapshots that came by another way than Fetch:
// those saved from a member that runs. While it is open nobody else works in it.
//
//	saving*        what is being saved
//	snapshot-SUM   a snapshot, by the sha256 of its bbolt bytes
//	note-SUM       what its maker noted of it, as JSON
type Kept struct{ s *store }

// OpenKept opens the folder for what name stands for, which is no secret unless
// hidden; it waits until nobody else works there. Its errors are *Problem.
func OpenKept(ctx context.Context, cache, name string, hidden bool) (*Kept, error) {
	s, err := openStore(ctx, cache, place{path: name, hidden: hidden})
	if err != nil {
		return nil, err
	}
	return &Kept{s}, nil
}

// Close lets others work there.
func (k *Kept) Close() { k.s.close() }

// Begin gives a path for a new snapshot, and removes what a save before left half
// done.
func (k *Kept) Begin() (string, error) {
	names, err := k.names()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "saving") {
			k.s.drop(name)
		}
	}
	return k.s.path("saving.db"), nil
}

// Keep gives the snapshot at path, which Begin named, its place, with a note
// beside it, and removes those of other sums than this and also.
func (k *Kept) Keep(path, sum string, note any, also []string) (string, error) {
	data, err := json.Marshal(note)
	if err != nil {
		return "", err
	}
	err = writeWhole(k.s.path("note-"+sum), func(f *os.File) error {
		_, err := f.Write(append(data, '\n'))
		return err
	})
	if err != nil {
		return "", err
	}
	to := k.s.path("snapshot-" + sum)
	if err := publish(path, to); err != nil {
		return "", err
	}
	names, err := k.names()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		kind, of, _ := strings.Cut(name, "-")
		if (kind == "snapshot" || kind == "note") && of != sum && !slices.Contains(also, of) {
			k.s.drop(name)
		}
	}
	return to, nil
}

// Find gives the snapshot of that sum, and reads the note that was made of it;
// false where either is missing.
func (k *Kept) Find(sum string, note any) (path string, ok bool) {
	path = k.s.path("snapshot-" + sum)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	data, err := os.ReadFile(k.s.path("note-" + sum))
	if err != nil || json.Unmarshal(data, note) != nil {
		return "", false
	}
	return path, true
}

func (k *Kept) names() ([]string, error) {
	entries, err := os.ReadDir(k.s.dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}
