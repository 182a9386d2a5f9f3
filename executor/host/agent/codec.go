package agent

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc/mem"
)

// codec writes messages as JSON, and blocks of a file as they are.
type codec struct{}

// block is a part of a file: how it is packed, then its bytes.
type block []byte

func (codec) Name() string { return "requorum" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(*block); ok {
		return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
	}
	b, err := json.Marshal(v)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	b := data.Materialize()
	if to, ok := v.(*block); ok {
		*to = b
		return nil
	}
	return strictly(b, v)
}

// strictly decodes what this version has a place for: a field that one side does
// not know could be the one that keeps an act from doing harm.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not understood (%w): is it requorum of this version?", err)
	}
	return nil
}
