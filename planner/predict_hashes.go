package planner

// compareAnew leaves of a comparison of the key spaces what still holds: the hashes of
// the members that go on serving as who they were. Who stopped, or came back with
// other data, is compared the next time.
func compareAnew(before, after *Observation) {
	kv := before.KV
	if !kv.Known() {
		return
	}
	hashes, equal, same := map[string]uint32{}, true, uint32(0)
	for name, h := range kv.Value.Hashes {
		was, is := before.Members[name].Client, after.Members[name].Client
		if is.Reach != ReachServing || was.MemberID != is.MemberID || was.ClusterID != is.ClusterID {
			continue
		}
		if len(hashes) == 0 {
			same = h
		}
		equal = equal && h == same
		hashes[name] = h
	}
	if len(hashes) < len(kv.Value.Hashes) {
		after.KV = Known(KVComparison{Revision: kv.Value.Revision, Equal: equal, Hashes: hashes})
	}
}
