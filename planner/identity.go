package planner

import (
	"crypto/sha1" // etcd's own choice for IDs
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/requorum/requorum/spec"
)

// MemberID is the ID that etcd gives a member which begins with these peer URLs
// under this token, in unpadded hex: the first eight bytes of the sha1 over the
// sorted URLs and the token. The member's name has no part in it.
//
// It follows computeMemberID in etcd's server/etcdserver/api/membership.
func MemberID(peerURLs []string, token string) string {
	return formatID(memberID(peerURLs, token))
}

func memberID(peerURLs []string, token string) uint64 {
	urls := slices.Clone(peerURLs)
	slices.Sort(urls)
	sum := sha1.Sum([]byte(strings.Join(urls, "") + token))
	return binary.BigEndian.Uint64(sum[:8])
}

// ClusterID is the ID of the cluster that begins with these members under this
// token, in unpadded hex. Learners are no initial members and don't count.
//
// It follows RaftCluster.genID in etcd's server/etcdserver/api/membership.
func ClusterID(members []spec.Member, token string) string {
	var ids []uint64
	for _, m := range members {
		if !m.Learner {
			ids = append(ids, memberID(m.PeerURLs, token))
		}
	}
	slices.Sort(ids)
	b := make([]byte, 8*len(ids))
	for i, id := range ids {
		binary.BigEndian.PutUint64(b[8*i:], id)
	}
	sum := sha1.Sum(b)
	return formatID(binary.BigEndian.Uint64(sum[:8]))
}

func formatID(id uint64) string { return strconv.FormatUint(id, 16) }

// SameURLs compares two sets of URLs. etcd keeps peer URLs as a set; their
// order means nothing.
func SameURLs(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
