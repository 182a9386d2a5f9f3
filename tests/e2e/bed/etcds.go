package bed

import (
	"context"
	"fmt"
	"slices"

	"github.com/requorum/requorum/tests/harness"
)

// shared is a file of the machine's that hosts see, read-only.
type shared struct{ from, to string }

// Opt is the folder of a minor version's etcd, etcdctl and etcdutl on the hosts.
func Opt(minor string) string { return "/opt/etcd-" + minor }

// etcdsOf are etcd's programs. They cost a host no room.
func etcdsOf(ctx context.Context, minors []string) ([]shared, error) {
	var out []shared
	for _, minor := range minors {
		if !slices.Contains(harness.Minors, minor) {
			return nil, fmt.Errorf("there is no etcd %q: %v", minor, harness.Minors)
		}
		if minor == "3.4" {
			continue // Debian's own is in the base
		}
		r, err := harness.FindWhole(ctx, minor)
		if err != nil {
			return nil, err
		}
		// The folders are for root only; the files are not.
		for name, path := range map[string]string{"etcd": r.Etcd, "etcdctl": r.Etcdctl, "etcdutl": r.Etcdutl} {
			out = append(out, shared{path, Opt(minor) + "/" + name})
		}
	}
	return out, nil
}
