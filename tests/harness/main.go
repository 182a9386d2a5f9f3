package harness

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// binary is the requorum under test.
var binary string

// parallel is how many tests run at once where -parallel does not say: etcd
// mostly waits (for elections, for the disk), so more than there are cores.
const parallel = 7

// Main is TestMain's body: it builds requorum, runs the tests, and exits.
func Main(m *testing.M) { MainAnd(m, func(code int) int { return code }) }

// MainAnd is Main with something to be done after the tests; it is given their exit
// code and gives the one to exit with.
func MainAnd(m *testing.M, after func(code int) int) { os.Exit(after(run(m))) }

func run(m *testing.M) int {
	flag.Parse()
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", fmt.Sprint(parallel))
	}
	dir, err := os.MkdirTemp("", "requorum-test-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	defer os.RemoveAll(dir) // our own copy of the binary
	if binary, err = Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	defer DropS3()
	return m.Run()
}

func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// Binary is the path of the requorum under test.
func Binary() string { return binary }

// Build builds requorum into dir and gives its path; REQUORUM_BIN names one that
// is there already.
func Build(dir string) (string, error) {
	if bin := os.Getenv("REQUORUM_BIN"); bin != "" {
		if _, err := os.Stat(bin); err != nil {
			return "", fmt.Errorf("REQUORUM_BIN: %w", err)
		}
		return filepath.Abs(bin)
	}
	if err := lookAtSources(); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "requorum")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/requorum")
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/requorum: %w\n%s", err, out)
	}
	return bin, nil
}

// lookAtSources looks at all that requorum is built from, so that `go test` does
// not take a result from its cache that belongs to an older requorum: what the
// binary is made of is no dependency of the tests that run it.
func lookAtSources() error {
	for _, dir := range []string{"cmd", "executor", "planner", "spec"} {
		err := filepath.WalkDir(filepath.Join(Root(), dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	_, err := os.Stat(filepath.Join(Root(), "go.mod"))
	return err
}

// Root is the folder of the module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}
