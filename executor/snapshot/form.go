package snapshot

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of mvccpb.KeyValue, all that there are in etcd 3.0 to 3.7.
const (
	fieldKey   = 1
	fieldValue = 5
	fieldLease = 6
)

// canonical checks that a record has the one form that etcd gives it: known fields
// in the order of their numbers, none empty, numbers as short as they go. A
// protobuf reader takes much more for a record: of one whose tag or length was
// changed, too. Where a hash vouches for the bytes it is not asked for: a later
// etcd may have more fields.
func canonical(v []byte) error {
	var last protowire.Number
	for len(v) > 0 {
		num, typ, n := protowire.ConsumeTag(v)
		if n < 0 {
			return protowire.ParseError(n)
		}
		want := protowire.VarintType
		if num == fieldKey || num == fieldValue {
			want = protowire.BytesType
		}
		if num <= last || num > fieldLease || typ != want || n != 1 {
			return fmt.Errorf("field %d of type %d after field %d", num, typ, last)
		}
		last, v = num, v[n:]
		x, n := protowire.ConsumeVarint(v)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if x == 0 || n != protowire.SizeVarint(x) {
			return fmt.Errorf("field %d is not as short as it goes", num)
		}
		if v = v[n:]; want == protowire.BytesType {
			if x > uint64(len(v)) {
				return errors.New("a field reaches past the record's end")
			}
			v = v[x:]
		}
	}
	return nil
}
