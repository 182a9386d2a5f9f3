package observe

import (
	"testing"

	"github.com/requorum/requorum/spec"
)

func TestShownSource(t *testing.T) {
	for source, want := range map[string]string{
		"./a/../b.db":               "b.db",
		"https://u:p@h/x.db?sig=s":  "https://h/x.db",
		"https://u:p%zz@h/x.db":     "(not a URL)",
		"etcd://h:2379,h2:2379":     "etcd://h:2379,h2:2379",
		"datadir:///mnt/dead/etcd":  "datadir:///mnt/dead/etcd",
		"s3://bucket/key?region=eu": "s3://bucket/key",
	} {
		if got := ShownSource(&spec.Snapshot{Source: source}); got != want {
			t.Errorf("%s is shown as %s, want %s", source, got, want)
		}
	}
}
