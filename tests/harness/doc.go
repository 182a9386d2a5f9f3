// Package harness runs requorum and real etcd for tests, each test in a folder
// of its own.
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
//	func TestX(t *testing.T) {
//		e := harness.New(t)          // a folder, a HOME, a journal, an end
//		c := e.Cluster(3)            // members m1 to m3 on free ports
//		c.Write()                    // …/requorum.hcl
//		e.Run("apply", "--auto-approve", c.Path()).Want(t, 0)
//		want := harness.Fill(t, c.Endpoints(), 1000)
//		harness.CompareAll(t, want, c.Endpoints())
//	}
//
// What it promises:
//
//   - requorum is built once for each test binary (REQUORUM_BIN names another).
//   - Ports are reserved machine-wide, without a file: test binaries that run at
//     the same time never get the same one.
//   - Nothing of a test outlives it. Processes are found by the test's own folder
//     in their command line and ended by pid; whoever else runs is left alone.
//   - The end of a test asserts what must always hold: one supervisor and one
//     etcd for each data directory at most, and no stray process, trial, lock or
//     temporary file of requorum's.
//
// Members that somebody started by hand are Hand and Hands (any flags, killed all
// at once, in a network namespace of their own); Writers remember what was
// acknowledged, what failed and the longest gap; Settle applies until there is
// nothing to do; Dirs tells whether every data directory is still somewhere.
//
// Its parts that need no test (ports, processes, keys) serve tests/demo as well.
package harness
