package snapshot

import "google.golang.org/protobuf/encoding/protowire"

// keyValue is an mvccpb.KeyValue that points into the bytes it was read from:
// decoding a snapshot with proto.Unmarshal would copy every value once more.
type keyValue struct {
	key, value                           []byte
	createRevision, modRevision, version int64
}

// decode accepts what proto.Unmarshal accepts: fields in any order, the last one
// of each counts, and those that are not known are only looked at.
func (kv *keyValue) decode(b []byte) error {
	*kv = keyValue{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if n = kv.field(num, typ, b); n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
	}
	return nil
}

// field takes one field's value and returns its length, or a negative code. The
// numbers are those of mvccpb/kv.proto; a lease (6) is not looked at.
func (kv *keyValue) field(num protowire.Number, typ protowire.Type, b []byte) (n int) {
	var v uint64
	switch {
	case num == 1 && typ == protowire.BytesType:
		kv.key, n = protowire.ConsumeBytes(b)
	case num == 2 && typ == protowire.VarintType:
		v, n = protowire.ConsumeVarint(b)
		kv.createRevision = int64(v)
	case num == 3 && typ == protowire.VarintType:
		v, n = protowire.ConsumeVarint(b)
		kv.modRevision = int64(v)
	case num == 4 && typ == protowire.VarintType:
		v, n = protowire.ConsumeVarint(b)
		kv.version = int64(v)
	case num == 5 && typ == protowire.BytesType:
		kv.value, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	return n
}
