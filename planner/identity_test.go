package planner

import (
	"fmt"
	"math/rand"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"

	"github.com/requorum/requorum/spec"
)

// TestIDsAreEtcds compares the IDs with those etcd itself computes.
func TestIDsAreEtcds(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for round := range 200 {
		c := &spec.Cluster{}
		for i := range 1 + rnd.Intn(5) {
			m := spec.Member{Name: fmt.Sprintf("m%d", i)}
			for u := range 1 + rnd.Intn(3) {
				m.PeerURLs = append(m.PeerURLs, fmt.Sprintf("http://127.0.%d.%d:%d", i, u, 1+rnd.Intn(65535)))
			}
			c.Members = append(c.Members, m)
		}
		token := fmt.Sprintf("token-%d", round)
		urls, err := types.NewURLsMap(c.InitialCluster())
		if err != nil {
			t.Fatal(err)
		}
		want, err := membership.NewClusterFromURLsMap(zap.NewNop(), token, urls)
		if err != nil {
			t.Fatal(err)
		}
		if got := ClusterID(c.Members, token); got != want.ID().String() {
			t.Fatalf("cluster ID %s, etcd says %s", got, want.ID())
		}
		for _, m := range c.Members {
			if got := MemberID(m.PeerURLs, token); got != want.MemberByName(m.Name).ID.String() {
				t.Fatalf("member ID %s, etcd says %s", got, want.MemberByName(m.Name).ID)
			}
		}
	}
}
