package etcd

import "path/filepath"

// Publish gives a finished and synced file its name, unless something has that
// name by now, and makes the name durable. Both lie on one file system.
func Publish(from, to string) error {
	if err := publish(from, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}
