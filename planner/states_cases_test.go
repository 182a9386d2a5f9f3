package planner

const replaceSteps = "remove-member add-learner join promote verify"
const replaceDamaged = "remove-member set-aside add-learner join promote verify"
const replaceDiffering = "remove-member stop set-aside add-learner join promote verify"

// states has at least one case of each.
func states() []state {
	all := []kind{serving, serving, serving}
	withM3 := func(k kind) []kind { return []kind{serving, serving, k} }
	return []state{
		{1, "minority down", seen(3, withM3(down), nil), RouteStart, "start", "", "minority-down m3"},
		{2, "minority lost", seen(3, withM3(missing), nil), RouteReconfigure, replaceSteps, "", "minority-lost m3"},
		{3, "survivor runs", seen(3, []kind{serving, missing, missing}, nil), RouteRecover, "save-snapshot " + recoverSteps, "", "quorum-lost-running m1"},
		{4, "survivor restarted", seen(3, []kind{stuck, missing, missing}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Peer.Reach, o.Peer.Members = ReachServing, Known(o.Data.Value.Members) })
		}), RouteRecover, recoverSteps, "", "quorum-lost-restarted m1"},
		{5, "lost for good", seen(3, []kind{down, missing, missing}, nil), RouteRecover, recoverSteps, "", "quorum-lost m1"},
		{5, "in place", seen(3, []kind{down, missing, missing}, func(in *Input) { in.Cluster.Recover = inPlaceFrom("m1") }), RouteRecover, "fence recover trial install start verify stop start verify add-learner join promote add-learner join promote verify", "", "quorum-lost m1"},
		{6, "a snapshot alone", func() Input { return input(withSnapshot(members(3)), missing, missing, missing) }, RouteRestore, "restore install start verify stop start verify", "", "all-lost m1, all-lost m2, all-lost m3"},
		{6, "not even that", seen(3, []kind{missing, missing, missing}, nil), "", "", CodeDataMissing, "all-lost m1, all-lost m2, all-lost m3"},
		{7, "stopped", seen(2, []kind{down, unstarted}, nil), RouteStart, "claim start verify", "", "second-voter-unstarted m2"},
		{7, "running", seen(2, []kind{serving, unstarted}, nil), RouteStart, "claim start verify", "", "second-voter-unstarted m2"},
		{7, "the second is at no address of the file", seen(2, []kind{down, unstarted}, func(in *Input) {
			elsewhere(in, 1, silent)
			in.Observation.Others[0].Name, in.Observation.Others[0].ClientURLs = "", nil
		}), RouteRecover, recoverSteps, "", "second-voter-unstarted 9991b1f3430756f9"},
		{8, "several unstarted", seen(5, []kind{serving, serving, serving, unstarted, unstarted}, nil), RouteReconfigure, "join join verify", "", "unstarted-voters m4, unstarted-voters m5"},
		{9, "one of two lost", seen(2, []kind{serving, missing}, nil), RouteRecover, "save-snapshot " + recoverSteps, "", "one-of-two-dead"},
		{9, "one of two down", seen(2, []kind{serving, down}, nil), RouteStart, "start verify", "", "one-of-two-dead"},
		{10, "running", seen(3, all, func(in *Input) {
			for i := range in.Cluster.Members {
				m := &in.Cluster.Members[i]
				m.PeerURLs = []string{"http://127.0.0.1:248" + m.Name[1:]}
				m.ListenPeerURLs = m.PeerURLs
				edit(in, m.Name, func(o *MemberObservation) { o.Peer = PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused} })
			}
		}), RouteReconfigure, "update-member stop start update-member stop start update-member move-leader stop start verify", "", "all-addresses-changed m1, all-addresses-changed m2, all-addresses-changed m3"},
		{10, "stopped", movedWhileStopped, RouteRecover, recoverSteps, "", "all-addresses-changed m1, all-addresses-changed m2, all-addresses-changed m3"},
		{11, "a stale URL", seen(3, all, func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember {
				l[1].PeerURLs = []string{"http://127.0.0.1:2999"}
				return l
			})
		}), RouteReconfigure, "update-member verify", "", "peer-url-stale m2"},
		{12, "isolated", seen(3, all, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
		}), "", "", CodeNoLeader, "member-isolated m3"},
		{13, "split brain, both serve", seen(3, all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) {
				o.Client.Members = Known(o.Client.Members.Value[:1])
				o.Data.Value.Members = o.Data.Value.Members[:1]
			})
			for _, n := range []string{"m2", "m3"} {
				edit(in, n, func(o *MemberObservation) { o.Client.LeaderID = in.Observation.Members["m2"].Client.MemberID })
			}
		}), "", "", CodeSplitCluster, "split-brain m2, split-brain m3"},
		{13, "split brain, stopped", seen(3, []kind{down, down, down}, func(in *Input) {
			data(in, "m1", func(d *DataDir) { d.Members = d.Members[:1] })
		}), "", "", CodeSplitCluster, "split-brain, removed-member-exits m2, removed-member-exits m3"},
		{14, "leader flapping, a member to replace", seen(3, withM3(missing), func(in *Input) {
			metrics(in, "m1", Metrics{UpSeconds: 300, LeaderChanges: 12})
		}), "", "", CodeFlapping, "minority-lost m3, leader-flapping"},
		{14, "a slow disk", seen(3, withM3(missing), func(in *Input) {
			metrics(in, "m2", Metrics{UpSeconds: 90000, LeaderChanges: 3, FsyncSeconds: 1.7})
		}), "", "", CodeFlapping, "minority-lost m3, leader-flapping"},
		{14, "nothing to change", seen(3, all, func(in *Input) {
			metrics(in, "m1", Metrics{UpSeconds: 300, LeaderChanges: 12})
		}), RouteInSync, "", "", "leader-flapping"},
		{14, "nothing to change but settings", seen(3, withM3(forced), func(in *Input) {
			metrics(in, "m1", Metrics{UpSeconds: 300, LeaderChanges: 12})
		}), RouteReconfigure, "stop start verify", "", "leader-flapping, force-new-left-on m3"},
		{15, "clock skew", seen(3, all, signOf("m2", SignClockDrift, "prober found high clock drift")), RouteInSync, "", "", "clock-skew m2"},
		{16, "peer TLS", seen(3, all, func(in *Input) {
			signOf("m3", SignPeerTLS, "rejected connection on peer endpoint")(in)
			edit(in, "m3", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
		}), "", "", CodePeerTLS, "peer-tls-failure m3"},
		{16, "all refuse each other", seen(3, all, func(in *Input) {
			for _, m := range in.Cluster.Members {
				edit(in, m.Name, func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
			}
			signOf("m1", SignPeerTLS, "rejected connection on peer endpoint")(in)
		}), "", "", CodePeerTLS, "member-isolated m2, member-isolated m3, peer-tls-failure m1"},
		{17, "client TLS", seen(3, withM3(stuck), func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.Client.Reach, o.Client.Detail = ReachTLSFailed, "x509: expired" })
		}), "", "", CodeTLSFailed, "client-tls-failure m3"},
		{18, "cluster ID mismatch", seen(3, all, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) {
				o.Client.ClusterID, o.Peer.ClusterID, o.Data.Value.ClusterID = "abc", "abc", "abc"
			})
		}), "", "", CodeClusterIDMismatch, "cluster-id-mismatch m3"},
		{19, "old member, same IDs", seen(3, all, func(in *Input) {
			unequal(in)
			data(in, "m3", func(d *DataDir) {
				l := *d.Log
				l.Sums = append([]uint32{7}, l.Sums[1:]...)
				d.Log = &l
			})
		}), RouteReconfigure, replaceDiffering, "", "old-member-same-id m3"},
		{19, "and it has more", seen(3, all, func(in *Input) {
			unequal(in)
			data(in, "m3", func(d *DataDir) {
				l := *d.Log
				l.Sums = append([]uint32{7}, l.Sums[1:]...)
				d.Log = &l
			})
			for i, rev := range []int64{29, 29, 51} {
				edit(in, in.Cluster.Members[i].Name, func(o *MemberObservation) { o.Client.Applied, o.Client.Revision = 1200, rev })
			}
		}), RouteReconfigure, replaceDiffering, "", "old-member-same-id m3"},
		{20, "partly restored", seen(3, all, func(in *Input) {
			in.Observation.KV = Known(KVComparison{Revision: 24, Hashes: map[string]uint32{"m1": 1, "m2": 2, "m3": 2}})
			for i, rev := range []int64{24, 1, 1} {
				edit(in, in.Cluster.Members[i].Name, func(o *MemberObservation) { o.Client.Applied, o.Client.Revision = 8, rev })
			}
		}), "", "", CodePartlyRestored, "partly-restored"},
		{20, "on disks", seen(3, []kind{down, down, down}, func(in *Input) {
			data(in, "m1", func(d *DataDir) { d.LastTerm, d.LastIndex, d.Commit, d.Revision, d.Log = 1, 3, 3, 500, nil })
			for _, n := range []string{"m2", "m3"} {
				data(in, n, func(d *DataDir) { d.Revision, d.ConsistentIndex = 7, 1200 })
			}
		}), "", "", CodePartlyRestored, "partly-restored"},
		{21, "removed, exits", seen(3, withM3(removed), func(in *Input) {
			edit(in, "m3", lastWords("the member has been permanently removed from the cluster"))
		}), RouteReconfigure, "set-aside add-learner join promote verify", "", "removed-member-exits m3"},
		{22, "removed, alone", seen(3, all, func(in *Input) {
			for _, n := range []string{"m1", "m2"} {
				edit(in, n, func(o *MemberObservation) {
					o.Client.Members = Known(o.Client.Members.Value[:2])
					o.Data.Value.Members = o.Data.Value.Members[:2]
				})
			}
			edit(in, "m3", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
		}), RouteReconfigure, "stop set-aside add-learner join promote verify", "", "removed-member-runs m3"},
		{23, "empty, new", seen(3, withM3(missing), func(in *Input) {
			edit(in, "m3", lastWords("member a3 has already been bootstrapped"))
		}), RouteReconfigure, replaceSteps, "", "empty-dir-new m3"},
		{24, "empty, existing", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("tocommit(48) is out of range [lastIndex(0)]"))
		}), RouteReconfigure, replaceDamaged, "", "empty-dir-existing m3"},
		{25, "rolled back", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("tocommit(49) is out of range [lastIndex(48)]"))
		}), RouteReconfigure, replaceDamaged, "", "disk-rolled-back m3"},
		{26, "wrong initial cluster", seen(3, withM3(unstarted), func(in *Input) {
			edit(in, "m3", lastWords("error validating peerURLs: member count is unequal"))
		}), RouteReconfigure, "join verify", "", "unstarted-voters m3, initial-cluster-wrong m3"},
		{26, "of one that ran", seen(3, withM3(missing), func(in *Input) {
			edit(in, "m3", lastWords("PeerURLs: no match found for existing member"))
		}), RouteReconfigure, replaceSteps, "", "initial-cluster-wrong m3"},
		{27, "name not in it", seen(3, withM3(unstarted), func(in *Input) {
			edit(in, "m3", lastWords("couldn't find local name \"m3\" in the initial cluster configuration"))
		}), RouteReconfigure, "join verify", "", "unstarted-voters m3, name-not-in-initial-cluster m3"},
		{28, "force-new left on", seen(3, withM3(forced), nil), RouteReconfigure, "stop start verify", "", "force-new-left-on m3"},
		{28, "it expelled the others", seen(3, []kind{forced, removed, removed}, nil), RouteReconfigure, "stop start set-aside add-learner join promote set-aside add-learner join promote verify", "", "removed-member-exits m2, removed-member-exits m3, force-new-left-on m1"},
		{29, "removed all voters", seen(3, []kind{missing, missing, down}, func(in *Input) {
			edit(in, "m3", lastWords("removed all voters"))
		}), RouteRecover, recoverSteps, "", "force-new-spoilt m3"},
		{30, "learner never started", seen(3, withM3(unstarted), func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember { l[2].Learner = true; return l })
		}), RouteReconfigure, "join promote verify", "", "learner-unstarted m3"},
		{30, "and not in the file", seen(3, withM3(unstarted), func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember { l[2].Learner = true; return l })
			elsewhere(in, 2, silent)
			in.Observation.Others[0].Name, in.Observation.Others[0].ClientURLs, in.Observation.Others[0].Learner = "", nil, true
		}), RouteReconfigure, "remove-member verify", "", "learner-unstarted 3c69cb2677684ac3"},
		{31, "learner behind", seen(3, withM3(learner), func(in *Input) {
			for i, n := range []uint64{9000, 9000, 500} {
				edit(in, in.Cluster.Members[i].Name, func(o *MemberObservation) { o.Client.Applied = n })
			}
		}), RouteReconfigure, "promote verify", "", "learner-behind m3"},
		{32, "slot taken", seen(4, []kind{serving, serving, learner, newcomer}, func(in *Input) { in.Cluster.Members[2].Learner = true }), "", "", CodeLearnerSlot, "learner-slot-taken m4"},
		{32, "by a learner that is to vote", seen(4, []kind{serving, serving, learner, newcomer}, nil), RouteReconfigure, "promote add-learner join promote verify", "", "learner-slot-taken m4"},
		{33, "promoted by an update", seen(3, all, func(in *Input) {
			in.Cluster.Members[2].Learner = true
			for _, m := range in.Cluster.Members {
				edit(in, m.Name, func(o *MemberObservation) {
					o.Client.Version, o.Binary, o.Data.Value.StorageVersion = "3.6.9", Known(Binary{Version: "3.6.9"}), "3.6.0"
				})
			}
		}), RouteReconfigure, "remove-member stop set-aside add-learner join verify", "", "promoted-by-update m3"},
		{34, "too many learners", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("too many learner members in cluster"))
			relist(in, func(l []ListedMember) []ListedMember {
				return append(l, ListedMember{ID: "e1", Name: "x1", PeerURLs: []string{"http://127.0.0.9:1"}, Learner: true}, ListedMember{ID: "e2", Name: "x2", PeerURLs: []string{"http://127.0.0.9:2"}, Learner: true})
			})
		}), "", "", CodeLearnerBlocks, "minority-down m3, learner-blocks-upgrade m3"},
		{34, "as many as the file allows", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("too many learner members in cluster"))
			in.Cluster.Etcd.Config = map[string]string{"max-learners": "1"}
			relist(in, func(l []ListedMember) []ListedMember {
				return append(l, ListedMember{ID: "e1", PeerURLs: []string{"http://127.0.0.9:1"}, Learner: true})
			})
		}), RouteStart, "start", "", "minority-down m3, learner-unstarted e1, learner-blocks-upgrade m3"},
		{35, "zombie", seen(4, []kind{serving, serving, serving, missing}, func(in *Input) {
			id := MemberID(in.Cluster.Members[3].PeerURLs, oldToken)
			elsewhere(in, 3, silent)
			data(in, "m1", func(d *DataDir) { d.Removed = []string{id} })
		}), RouteReconfigure, "remove-member verify", "", "zombie-member m4"},
		{36, "WAL lost", seen(3, withM3(damaged), problem("the log ends before the database does")), RouteReconfigure, replaceDamaged, "", "wal-lost m3"},
		{36, "unreadable", seen(3, withM3(unread2), nil), RouteReconfigure, replaceDamaged, "", "wal-lost m3"},
		{37, "db missing", seen(3, withM3(damaged), problem("failed to find database snapshot file")), RouteReconfigure, replaceDamaged, "", "db-lost m3"},
		{38, "snap gone", seen(3, withM3(damaged), problem("failed to find database snapshot file")), RouteReconfigure, replaceDamaged, "", "db-lost m3"},
		{39, "snap files missing", seen(3, withM3(down), nil), RouteStart, "start", "", "minority-down m3"},
		{40, "pages", seen(3, withM3(damaged), problem("invalid database")), RouteReconfigure, replaceDamaged, "", "db-corrupt m3"},
		{41, "crc", seen(3, withM3(damaged), problem("walpb: crc mismatch")), RouteReconfigure, replaceDamaged, "", "wal-crc m3"},
		{42, "torn", seen(3, withM3(damaged), problem("wal: unexpected EOF")), RouteReconfigure, replaceDamaged, "", "wal-torn m3"},
		{43, "old db", seen(3, withM3(damaged), problem("the database is older than the log's snapshot")), RouteReconfigure, replaceDamaged, "", "db-older-than-log m3"},
		{43, "nothing else is left", seen(3, []kind{damaged, missing, missing}, func(in *Input) {
			data(in, "m1", func(d *DataDir) { d.Problem = "the db (consistent_index 5) is older than the WAL's snapshot (index 9)" })
		}), "", "", CodeDataDamaged, "db-older-than-log m1"},
		{44, "newer than the binary", seen(3, []kind{down, down, down}, func(in *Input) {
			for _, m := range in.Cluster.Members {
				edit(in, m.Name, func(o *MemberObservation) { o.Binary = Known(Binary{Version: "3.6.16"}) })
			}
		}), "", "", CodeBinaryVersion, "dir-newer-than-binary m1, dir-newer-than-binary m2, dir-newer-than-binary m3"},
		{45, "3.5 on 3.7", seen(3, []kind{down, down, down}, func(in *Input) {
			for _, m := range in.Cluster.Members {
				data(in, m.Name, func(d *DataDir) { d.StorageVersion, d.ClusterVersion = "", "3.5.0" })
			}
		}), "", "", CodeDirOlder, "dir-older-than-binary m1, dir-older-than-binary m2, dir-older-than-binary m3"},
		{46, "held by another", seen(3, withM3(down), func(in *Input) { data(in, "m3", func(d *DataDir) { d.HeldBy = 99 }) }), "", "", CodeDeadWithAlive, "dir-held-twice m3"},
		{46, "behind one that serves", seen(3, all, nil), RouteInSync, "", "", ""},
		{47, "disk full, beside a quorum", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("write /data/m3/member/wal/0.tmp: no space left on device"))
		}), "", "", CodeDiskFull, "minority-down m3, disk-full m3"},
		{47, "and there is room again", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("write /data/m3/member/wal/0.tmp: no space left on device"))
			edit(in, "m3", func(o *MemberObservation) { o.FreeBytes = Known(int64(10 << 30)) })
		}), RouteStart, "start", "", "minority-down m3"},
		{47, "the others are a quorum", seen(3, []kind{down, down, down}, func(in *Input) {
			edit(in, "m3", lastWords("write /data/m3/member/wal/0.tmp: no space left on device"))
		}), RouteStart, "start verify", "", "disk-full m3"},
		{47, "the others are no quorum", seen(3, []kind{down, down, down}, func(in *Input) {
			for _, n := range []string{"m2", "m3"} {
				edit(in, n, lastWords("write /data/m3/member/wal/0.tmp: no space left on device"))
			}
		}), "", "", CodeDiskFull, "disk-full m2, disk-full m3"},
		{47, "it dies again and again", seen(3, []kind{stuck, stuck, stuck}, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) {
				o.Service = Known(Service{State: ServiceBackoff, Restarts: 9, LastError: "no space left on device"})
				o.Data.Value.HeldBy = 0
			})
		}), "", "", CodeDiskFull, "disk-full m3"},
		{48, "snapshot bad", func() Input {
			in := input(withSnapshot(members(3)), missing, missing, missing)
			in.Observation.Snapshot = &SnapshotObservation{Problem: CodeSnapshotNoHash, Detail: "snapshot missing hash"}
			return in
		}, "", "", CodeSnapshotNoHash, "all-lost m1, all-lost m2, all-lost m3, snapshot-bad"},
		{48, "too new", func() Input {
			in := input(withSnapshot(members(3)), missing, missing, missing)
			in.Observation.Snapshot.Version = "3.8.0"
			return in
		}, "", "", CodeSnapshotVersion, "all-lost m1, all-lost m2, all-lost m3, snapshot-bad"},
		{49, "NOSPACE", seen(3, all, alarmsOf("NOSPACE", "m2")), "", "", CodeSpaceExhausted, "space-exhausted m2"},
		{49, "and one is down", seen(3, withM3(down), alarmsOf("NOSPACE", "m1")), RouteStart, "start", "", "minority-down m3, space-exhausted m1"},
		{49, "and one is lost", seen(3, withM3(missing), alarmsOf("NOSPACE", "m1")), RouteReconfigure, replaceSteps, "", "minority-lost m3, space-exhausted m1"},
		{50, "inherited alarm", seen(3, all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client.Alarms = []string{"NOSPACE on deadbeef"} })
		}), RouteReconfigure, "verify", "", "alarm-inherited"},
		{51, "CORRUPT, a clear majority", seen(3, all, func(in *Input) { unequal(in); alarmsOf("CORRUPT", "m3")(in) }), RouteReconfigure, replaceDiffering, "", "corrupt-alarm m3"},
		{51, "CORRUPT, and nothing to see", seen(3, all, func(in *Input) {
			alarmsOf("CORRUPT", "m3")(in)
			in.Observation.KV = Known(KVComparison{Revision: 7, Equal: true})
		}), "", "", CodeCorruptAlarm, "corrupt-alarm m3"},
		{52, "silent divergence", seen(3, all, unequal), RouteReconfigure, replaceDiffering, "", "silent-divergence m3"},
		{52, "of the leader", seen(3, all, func(in *Input) {
			in.Observation.KV = Known(KVComparison{Revision: 7, Hashes: map[string]uint32{"m1": 3, "m2": 1, "m3": 1}})
		}), RouteReconfigure, "move-leader " + replaceDiffering, "", "silent-divergence m1"},
		{52, "no majority", seen(3, all, func(in *Input) {
			in.Observation.KV = Known(KVComparison{Revision: 7, Hashes: map[string]uint32{"m1": 3, "m2": 1, "m3": 2}})
		}), "", "", CodeDiverged, "silent-divergence"},
		{53, "auth, no quorum", seen(3, []kind{stuck, missing, missing}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client.Reach, o.Client.Detail = ReachAuth, "user name is empty" })
		}), "", "", CodeAuthLockedOut, "quorum-lost-restarted m1, auth-locked-out m1"},
		{54, "downgrade", seen(3, withM3(missing), func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client.Downgrade = "3.6.0" })
		}), "", "", CodeDowngrade, "minority-lost m3, downgrade-stuck"},
		{54, "nothing to change", seen(3, all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client.Downgrade = "3.6.0" })
		}), RouteInSync, "", "", "downgrade-stuck"},
		{54, "the file wants the older version", seen(3, all, func(in *Input) {
			RunsVersions(in, "3.6", "3.7.3", "3.7.3", "3.6.16")
			told(in, "3.6.0")
		}), RouteReconfigure, "enable-downgrade stop start move-leader stop start verify", "", "downgrade-stuck, mixed-minors"},
		{54, "the file wants another version", seen(3, all, func(in *Input) {
			RunsVersions(in, "3.7", "3.7.3", "3.7.3", "3.6.16")
			told(in, "3.6.0")
		}), RouteReconfigure, "cancel-downgrade stop start verify", "", "downgrade-stuck, mixed-minors"},
		{55, "the file says where to", seen(3, all, func(in *Input) { RunsVersions(in, "3.7", "3.7.3", "3.6.16", "3.6.16") }), RouteReconfigure, "stop start stop start verify", "", "mixed-minors"},
		{55, "3.5 was in the log", seen(3, all, func(in *Input) {
			RunsVersions(in, "3.7", "3.7.3", "3.6.16", "3.6.16")
			edit(in, "m3", func(o *MemberObservation) { o.Data.Value.OldEntry = 9 })
		}), RouteReconfigure, "trim-log stop start stop start verify", "", "mixed-minors"},
		{55, "mixed minors", seen(3, withM3(missing), mixed), "", "", CodeMixedMinors, "minority-lost m3, mixed-minors"},
		{55, "nothing to change", seen(3, all, mixed), RouteInSync, "", "", "mixed-minors"},
		{56, "overloaded", seen(3, withM3(missing), func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) { o.Client.Linearizable = Unknown[bool]("etcdserver: too many requests") })
		}), "", "", CodeOverloaded, "minority-lost m3, overloaded m2"},
		{56, "so that no quorum is seen", seen(3, all, func(in *Input) {
			for _, m := range in.Cluster.Members {
				edit(in, m.Name, func(o *MemberObservation) { o.Client.Linearizable = Unknown[bool]("etcdserver: too many requests") })
			}
		}), "", "", CodeOverloaded, "overloaded m1, overloaded m2, overloaded m3"},
		{56, "it was, once", seen(3, all, func(in *Input) {
			signOf("m1", SignOverloaded, "etcdserver: too many requests")(in)
			metrics(in, "m1", Metrics{UpSeconds: 90000})
		}), RouteInSync, "", "", ""},
		{57, "restored without a bump", seen(3, all, func(in *Input) {
			data(in, "m1", func(d *DataDir) {
				d.ProvenanceAgrees, d.Provenance = true, &Provenance{Kind: ProvenanceRestore, Token: oldToken, Revision: 20, When: "2026-01-02T03:04:05Z", InitialCluster: in.Cluster.InitialCluster()}
			})
		}), RouteInSync, "", "", "clients-stale m1"},
		{58, "restore half done", func() Input { return input(withSnapshot(members(3)), installed, staged, claimed) }, RouteRestore, "restore install start verify stop start verify", "",
			"restore-half-done m1, restore-half-done m2, restore-half-done m3"},
		{58, "and the file no longer fits", func() Input {
			in := input(members(3), installed, staged, claimed)
			return in
		}, "", "", CodeRestoreUnfinished, "restore-half-done m1, restore-half-done m2"},
		{59, "a change whose outcome is not known", seen(3, withM3(unstarted), func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember { l[2].Learner = true; return l })
		}), RouteReconfigure, "join promote verify", "", "learner-unstarted m3"},
	}
}
