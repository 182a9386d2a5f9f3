package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Count gives a member's revision and its number of live keys, as that member
// has them (a serializable read: it needs no quorum and may lag behind the
// leader). Without a deadline in ctx it takes 5 s at most. Under authentication
// the user must be allowed to read all keys.
func Count(ctx context.Context, url string, a Access) (revision, keys int64, err error) {
	ctx, cancel := withLimit(ctx, 0)
	defer cancel()
	c, err := open(ctx, url, a)
	if err != nil {
		return 0, 0, plain{err}
	}
	defer func() { _ = c.Close() }()
	resp, err := c.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return 0, 0, plain{fmt.Errorf("count keys: %w", err)}
	}
	return resp.Header.Revision, resp.Count, nil
}

// Disarm clears the alarms of members for which keep gives false: those that a
// restored snapshot brought along. It asks the endpoints in turn, each for at
// most 5 s, until one lists the alarms (which needs quorum), and gives what was
// cleared as "NOSPACE on 8e9e05c52164694d". keep gets the member's ID in hex
// without padding; it must hold for all current members, whose own alarms would
// otherwise vanish while their cause stays. On an error the alarms named were
// cleared, and whether the next one was is unknown: list again.
func Disarm(ctx context.Context, endpoints []string, a Access, keep func(memberID string) bool) ([]string, error) {
	if keep == nil {
		return nil, errors.New("disarm: no list of members to keep")
	}
	var errs []string
	for _, url := range endpoints {
		done, listed, err := disarmAt(ctx, url, a, keep)
		if listed || err == nil {
			return done, err
		}
		errs = append(errs, url+": "+oneLine(err))
	}
	if len(errs) == 0 {
		return nil, errors.New("disarm: no endpoint to ask")
	}
	return nil, errors.New("no endpoint lists the alarms: " + strings.Join(errs, "; "))
}

// disarmAt is Disarm at one endpoint; listed is whether it gave the list.
func disarmAt(ctx context.Context, url string, a Access, keep func(string) bool) (done []string, listed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, defaultLimit)
	defer cancel()
	c, err := open(ctx, url, a)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = c.Close() }()
	list, err := c.maintenance.AlarmList(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("list alarms: %w", err)
	}
	for _, m := range list.Alarms {
		// Member 0 would mean every member.
		if m.MemberID == 0 || keep(hexID(m.MemberID)) {
			continue
		}
		name := alarmText(m.Alarm.String(), m.MemberID)
		if _, err := c.maintenance.AlarmDisarm(ctx, (*clientv3.AlarmMember)(m)); err != nil {
			return done, true, plain{fmt.Errorf("disarm %s: outcome unknown: %w", name, err)}
		}
		done = append(done, name)
	}
	return done, true, nil
}
