package etcd

import (
	"slices"
	"testing"
)

// Whoever reads a plan sees that a member's URL has a user in it, and not whom.
func TestUsersInURLs(t *testing.T) {
	urls := []string{"http://h:1", "http://ops:p@x/w@h:2", "http://token@h:3"}
	if got := UntoldUser(urls); !slices.Equal(got, []string{"http://h:1", "http://(sensitive)@h:2", "http://(sensitive)@h:3"}) {
		t.Errorf("%q", got)
	}
	if got := withoutUser([]string{"http://ops:pw@h:2"}); !slices.Equal(got, []string{"http://h:2"}) {
		t.Errorf("%q", got)
	}
	got, err := decodePeerMembers([]byte(`[{"id":1,"peerURLs":["http://ops:pw@h:2"],"clientURLs":["http://ops:pw@h:3"]}]`))
	if err != nil || got[0].PeerURLs[0] != "http://(sensitive)@h:2" || got[0].ClientURLs[0] != "http://h:3" {
		t.Errorf("%+v %v", got, err)
	}
}
