package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// Config is what the supervisor of one member runs. It lies at Layout.Service.
type Config struct {
	Name string `json:"name"`
	// Cluster is the name of the cluster whose file installed the service: no
	// other file may start or stop it.
	Cluster string `json:"cluster"`
	DataDir string `json:"data_dir"`          // absolute
	WALDir  string `json:"wal_dir,omitempty"` // absolute; "" for the one in DataDir
	// Binary is the user's etcd, absolute; "" is the one inside requorum.
	Binary string `json:"binary,omitempty"`
	// Args are etcd's flags; the absolute data directory is among them.
	Args []string `json:"args"`
	// Carried are those of Args that came along when the member was adopted.
	Carried []string `json:"carried,omitempty"`
	// ClusterID and MemberID, in hex, are what the directories must hold
	// whenever etcd is started.
	ClusterID string `json:"cluster_id"`
	MemberID  string `json:"member_id"`
	// Bootstrap allows one first start on an empty directory.
	Bootstrap bool   `json:"bootstrap,omitempty"`
	Token     string `json:"token,omitempty"`
	// Private is the private copy of Binary; Start fills it in.
	Private string `json:"private"`
	// StopSeconds is how long etcd may take to end after SIGTERM before it is
	// killed; 0 is 30.
	StopSeconds int `json:"stop_seconds,omitempty"`
	// Unit is the systemd unit that keeps the member, in the place of a supervisor of
	// requorum's; "" for the latter.
	Unit string `json:"unit,omitempty"`
	// Commands are the user's own that keep the member; nil for none. A supervisor has it
	// until its first log is there, and as long as it is closed to clients.
	Commands *planner.Commands `json:"commands,omitempty"`
	// LogBytes is the size at which the log is rotated; 0 is 20 MB.
	LogBytes int64 `json:"log_bytes,omitempty"`
}

func (c Config) stopTimeout() time.Duration {
	if c.StopSeconds <= 0 {
		return 30 * time.Second
	}
	return time.Duration(c.StopSeconds) * time.Second
}

func (c Config) logBytes() int64 {
	if c.LogBytes <= 0 {
		return 20 << 20
	}
	return c.LogBytes
}

// argv is the command line that runs etcd.
func (c Config) argv() []string {
	if c.Binary == "" {
		return append([]string{c.Private, "etcd"}, c.Args...)
	}
	return append([]string{c.Private}, c.Args...)
}

func (c Config) equal(o Config) bool {
	args := slices.Equal(c.Args, o.Args)
	c.Args, o.Args = nil, nil
	a, _ := json.Marshal(c)
	b, _ := json.Marshal(o)
	return args && string(a) == string(b)
}

func (c Config) check(l host.Layout) error {
	switch {
	case c.Unit != "":
		return fmt.Errorf("%s is kept by the systemd unit %s, not by a supervisor of requorum's", c.Name, c.Unit)
	case !filepath.IsAbs(c.DataDir) || c.DataDir != l.DataDir || c.WALDir != l.WALDir:
		return fmt.Errorf("service of %s: its directories (%s, %s) are not those of %s", c.Name, c.DataDir, c.WALDir, l.Base())
	case !hasDataDir(c.Args, c.DataDir):
		return fmt.Errorf("service of %s: --data-dir=%s is not among etcd's arguments", c.Name, c.DataDir)
	case slices.ContainsFunc(c.Args, planner.IsUntold):
		return fmt.Errorf("service of %s: %w", c.Name, untoldError(planner.UntoldFlags(c.Args)))
	case c.ClusterID == "" || c.MemberID == "":
		return fmt.Errorf("service of %s: the expected cluster and member IDs are not given", c.Name)
	}
	return nil
}

// ReadConfig reads Layout.Service. The error is fs.ErrNotExist where no service
// was ever installed.
func ReadConfig(l host.Layout) (Config, error) {
	var c Config
	return c, readJSON(l.Service(), &c)
}

// ClaimedBy returns an error where another cluster's file installed the service
// at l. A service of before there was this claim is anybody's.
func ClaimedBy(l host.Layout, cluster string) error {
	c, err := ReadConfig(l)
	if err != nil || c.Cluster == "" || c.Cluster == cluster {
		return nil
	}
	return fmt.Errorf("the service of %s belongs to cluster %q, not to %q: another file has this data directory; nothing was changed. If the cluster was only renamed, change its name in %s", l.DataDir, c.Cluster, cluster, l.Service())
}

// readConfigAt finds the service by its base, and the layout with it.
func readConfigAt(base string) (Config, host.Layout, error) {
	var c Config
	if err := readJSON(filepath.Join(base, filepath.Base(host.Layout{}.Service())), &c); err != nil {
		return c, host.Layout{}, err
	}
	l := host.LayoutAt(base, c.DataDir, c.WALDir)
	if l.Base() != base {
		return c, l, fmt.Errorf("%s belongs to the data directory %s, not to this folder", l.Service(), c.DataDir)
	}
	return c, l, c.check(l)
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error { return writeJSONIf(path, v, nil) }

func writeJSONIf(path string, v any, still func() error) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFileIf(path, append(b, '\n'), still)
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
