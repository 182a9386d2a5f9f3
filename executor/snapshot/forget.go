package snapshot

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ForgetVersion takes what an etcd of 3.6 or later says of its version out of a
// restored db, which must be nobody else's. An etcd before 3.6 neither reads nor
// ever writes that, so that it would stay as it is, and call a directory one of
// 3.6 that 3.5 has been writing for years. A db that has none of it is left alone.
func ForgetVersion(path string) (err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	written := false
	err = db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("meta"))
		written = b != nil && b.Get([]byte("storageVersion")) != nil
		return nil
	})
	if err != nil || !written {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for bucket, key := range map[string]string{"meta": "storageVersion", "cluster": "clusterVersion"} {
			if b := tx.Bucket([]byte(bucket)); b != nil {
				if err := b.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
