package systemd

import (
	"fmt"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
)

// OwnDir has the copies of requorum that units run: nobody but root writes there, and
// a unit's user can execute what is in it.
const OwnDir = "/usr/local/lib/requorum"

// own is how a unit runs the etcd inside requorum.
func (u Unit) own() ([]string, error) {
	path, err := process.CopyPath(OwnDir, u.Self, "requorum")
	if err != nil {
		return nil, err
	}
	return []string{path, "etcd"}, nil
}

// install makes the copy that a unit is about to run, where it runs one.
func (u Unit) install(program []string) error {
	own, err := u.own()
	if len(program) != 2 {
		return nil
	}
	if err != nil {
		return err
	}
	if program[0] != own[0] {
		return fmt.Errorf("%s was planned to run, and this requorum is %s: plan again", program[0], own[0])
	}
	if err := host.MakeFolder(OwnDir); err != nil {
		return err
	}
	_, err = process.Copy(OwnDir, u.Self, "requorum")
	return err
}
