package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Claim implements host.Host. It is refused where data lies that is not the
// claim's own.
func (d *Driver) Claim(ctx context.Context, a planner.Claim) (err error) {
	ctx, end, err := d.under(ctx, placesOf(a.Members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	return each(len(a.Members), func(i int) error {
		m := a.Members[i]
		l, err := layout(m.Place)
		if err != nil {
			return err
		}
		if err := goOn(ctx); err != nil {
			return fmt.Errorf("%s: not claimed: %w", m.Name, err)
		}
		// One that a killed apply has just spawned would begin under the identity
		// that this claim replaces.
		if err := d.keeper(m.Place, l).idle(ctx); err != nil {
			return fmt.Errorf("%s: not claimed: %w: plan again", m.Name, err)
		}
		if err := claimable(l, &m.Provenance); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		// Nobody else begins something there with what its service said before.
		if vacant(l) {
			if err := d.keeper(m.Place, l).bar(ctx); err != nil {
				return fmt.Errorf("%s: not claimed: %w", m.Name, err)
			}
		}
		if err := record(ctx, l, m.Provenance); err != nil {
			return fmt.Errorf("%s: record the data's origin: %w", m.Name, err)
		}
		return nil
	})
}

// claimable refuses to give a new identity to a place that has data.
func claimable(l host.Layout, p *planner.Provenance) error {
	if vacant(l) || is(l.DataDir, l.WALDir, p) {
		return nil
	}
	if cluster, member, err := etcd.Identity(l.DataDir, l.WALDir); err == nil {
		return fmt.Errorf("%s holds data of member %s of cluster %s: it gets no other identity while that is there", l.DataDir, member, cluster)
	}
	return fmt.Errorf("%s is not empty: it gets no identity while something is there", l.DataDir)
}

// record writes the provenance. An older record is kept beside it, and a marker
// that etcd ran under the older token moves aside after the new record is
// there: in between, the marker's own token tells which it belongs to. No
// evidence is ever deleted: a marker goes only where it is proven that its etcd
// wrote nothing, and a record whose token never ran is none (evidence.go).
func record(ctx context.Context, l host.Layout, p planner.Provenance) error {
	if _, err := host.MkdirAll(l.Base()); err != nil {
		return err
	}
	old, err := readProvenance(l)
	switch {
	case err == nil && old.Token == p.Token:
		if old.ClusterID != p.ClusterID || old.MemberID != p.MemberID {
			return fmt.Errorf("token %s was used before for member %s of cluster %s", p.Token, old.MemberID, old.ClusterID)
		}
	case notExist(err):
		err = writeProvenance(ctx, l, p)
	default: // another record, or one that can't be read
		err = keepRecord(l)
		if err == nil {
			err = writeProvenance(ctx, l, p)
		}
	}
	if err != nil {
		return err
	}
	return moveRan(l, p.Token)
}

func keepRecord(l host.Layout) error {
	b, err := os.ReadFile(l.Provenance())
	if err != nil {
		return err
	}
	return host.WriteFile(filepath.Join(l.Base(), keptRecord+stamp()+".json"), b)
}

// keptRecord begins the name of a superseded record.
const keptRecord = "provenance."

// keptRecords are the paths of the superseded records.
func keptRecords(l host.Layout) []string {
	entries, _ := os.ReadDir(l.Base())
	var out []string
	for _, e := range entries {
		path := filepath.Join(l.Base(), e.Name())
		if path != l.Provenance() && strings.HasPrefix(e.Name(), keptRecord) && strings.HasSuffix(e.Name(), ".json") {
			out = append(out, path)
		}
	}
	return out
}

func moveRan(l host.Layout, token string) error {
	ran, err := process.ReadRan(l)
	if notExist(err) || (err == nil && ran.Token == token) {
		return nil
	}
	// A service that is still tried may write at any moment: then the marker stays.
	if s := process.Status(l); err == nil && s.SupervisorPID == 0 && s.PID == 0 && ran.Untouched(l.DataDir) {
		return removeUntouched(l)
	}
	to := l.Ran() + "." + shortToken(ran.Token)
	if _, err := os.Lstat(to); err == nil {
		to += "-" + stamp()
	}
	if err := os.Rename(l.Ran(), to); err != nil {
		return err
	}
	return host.SyncDir(l.Base())
}

// shortToken tells a token from others in a file's name.
func shortToken(token string) string {
	s := strings.TrimPrefix(token, "requorum-")
	if len(s) > 12 {
		s = s[:12]
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return "unknown"
	}
	return s
}

// stamp names what is kept: when, and something that makes it unique.
func stamp() string {
	b := make([]byte, 3)
	_, _ = rand.Read(b) // never fails
	return time.Now().UTC().Format(time.RFC3339) + "-" + hex.EncodeToString(b)
}

func readProvenance(l host.Layout) (*planner.Provenance, error) {
	return readProvenanceAt(l.Provenance())
}

func readProvenanceAt(path string) (*planner.Provenance, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &planner.Provenance{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func writeProvenance(ctx context.Context, l host.Layout, p planner.Provenance) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFileIf(l.Provenance(), append(b, '\n'), func() error { return goOn(ctx) })
}
