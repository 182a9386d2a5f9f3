package snapshot

import (
	"bytes"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// Our decoder and protobuf's accept the same bytes, and read the same in them.
func FuzzKeyValue(f *testing.F) {
	kv := &mvccpb.KeyValue{Key: []byte("k"), Value: []byte("value"), CreateRevision: 3, ModRevision: 1 << 40, Version: 2, Lease: -5}
	whole, err := proto.Marshal(kv)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	for i := range whole {
		f.Add(whole[:i])
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			f.Add(b)
		}
	}
	f.Add(append(append([]byte{}, whole...), whole...))
	f.Add([]byte{0x3b, 0x3c})       // an unknown group, empty
	f.Add([]byte{0x3b, 0x08, 0x01}) // one without its end
	f.Add([]byte{0x3c})             // an end without a group
	f.Add([]byte{0x08, 0x01})       // the key's number with another type
	f.Fuzz(func(t *testing.T, b []byte) {
		var theirs mvccpb.KeyValue
		var ours keyValue
		err, own := proto.Unmarshal(b, &theirs), ours.decode(b)
		if (err == nil) != (own == nil) {
			t.Fatalf("%x: protobuf says %v, we say %v", b, err, own)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(theirs.Key, ours.key) || !bytes.Equal(theirs.Value, ours.value) || theirs.CreateRevision != ours.createRevision ||
			theirs.ModRevision != ours.modRevision || theirs.Version != ours.version {
			t.Fatalf("%x: %v, we have %+v", b, &theirs, ours)
		}
	})
}
