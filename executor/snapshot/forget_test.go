package snapshot

import (
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// What the writer noted of its version goes, and nothing else.
func TestForgetVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	all := func(want map[string]bool) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_ = db.View(func(tx *bolt.Tx) error {
			for key, there := range want {
				bucket, name := filepath.Split(key)
				if got := tx.Bucket([]byte(filepath.Clean(bucket))).Get([]byte(name)) != nil; got != there {
					t.Errorf("%s: %v, want %v", key, got, there)
				}
			}
			return nil
		})
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, kv := range [][2]string{{"meta", "storageVersion"}, {"meta", "term"}, {"cluster", "clusterVersion"}, {"cluster", "downgrade"}} {
			b, err := tx.CreateBucketIfNotExists([]byte(kv[0]))
			if err != nil {
				return err
			}
			if err := b.Put([]byte(kv[1]), []byte("3.6.0")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	for range 2 { // the second time there is nothing to do
		if err := ForgetVersion(path); err != nil {
			t.Fatal(err)
		}
		all(map[string]bool{"meta/storageVersion": false, "meta/term": true, "cluster/clusterVersion": false, "cluster/downgrade": true})
	}
}
