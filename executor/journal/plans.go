package journal

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Use is the record that a saved plan was begun. It is written once, before the
// plan's first step.
type Use struct {
	Time    string `json:"time"` // RFC 3339, UTC
	By      string `json:"by"`
	Cluster string `json:"cluster"`
	Digest  string `json:"digest"`
}

// PlanUse gives who used the plan with that digest; nil where nobody did. A record
// that can't be read is an error, never "nobody".
func PlanUse(dir, digest string) (*Use, error) {
	b, err := os.ReadFile(usePath(dir, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := &Use{}
	if err := json.Unmarshal(b, u); err != nil {
		// One that a crash cut short says that it was used, too.
		return &Use{Time: "an unknown time", By: "somebody", Digest: digest}, nil
	}
	return u, nil
}

// UsePlan records that a plan is used, and gives the record that was there before;
// nil where this one is the first. Of two at once, one is the first.
func UsePlan(dir string, u Use) (*Use, error) {
	path := usePath(dir, u.Digest)
	if err := mkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return PlanUse(dir, u.Digest)
	}
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(u)
	if err == nil {
		_, err = f.Write(append(b, '\n'))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(path)) // of a plan that is not used yet
	}
	return nil, syncDir(filepath.Dir(path))
}

func usePath(dir, digest string) string {
	return filepath.Join(dir, "plans", fileName(digest)+".json")
}
