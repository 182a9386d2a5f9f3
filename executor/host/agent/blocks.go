package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Blocks of a file: a byte that says how it is packed, then its bytes.
const (
	blockPlain = 0
	blockZstd  = 1
	blockEnd   = 2 // an ending, as JSON
)

const (
	blockSize  = 1 << 20
	windowSize = 4 * blockSize
)

// tryEvery is after how many blocks it is found out anew whether packing pays.
const tryEvery = 16

// ending says how a file's transfer ended.
type ending struct {
	Sum   string   `json:"sum,omitempty"` // of the whole file
	Error *failure `json:"error,omitempty"`
}

// packer sends what is written to it as blocks, packed where that is faster: it
// knows how long sending takes, for a full window makes it wait, and how long
// packing takes and what it saves, for it tries that now and then.
type packer struct {
	send func(*block) error
	buf  []byte
	zip  *zstd.Encoder

	packs   bool    // as last found out
	blocks  int     // sent so far
	perByte float64 // seconds to send a byte, lately
}

func newPacker(send func(*block) error) (*packer, error) {
	// One goroutine: several files are on their way at once.
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &packer{send: send, zip: zip, buf: make([]byte, 0, blockSize)}, nil
}

// Write implements io.Writer.
func (p *packer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), blockSize-len(p.buf))
		p.buf, b = append(p.buf, b[:k]...), b[k:]
		if len(p.buf) == blockSize {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (p *packer) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	plain := p.buf
	p.buf = p.buf[:0]
	trying := p.blocks >= 4 && p.blocks%tryEvery == 4
	p.blocks++
	if !p.packs && !trying {
		return p.sendTimed(append(block{blockPlain}, plain...))
	}
	began := time.Now()
	packed := p.zip.EncodeAll(plain, block{blockZstd})
	took := time.Since(began).Seconds()
	if trying {
		p.packs = p.pays(len(plain), len(packed), took)
	}
	if len(packed) >= len(plain) {
		packed = append(block{blockPlain}, plain...)
	}
	return p.sendTimed(packed)
}

// pays reports whether packing and sending, which go on side by side, take less
// time than sending alone.
func (p *packer) pays(plain, packed int, took float64) bool {
	return max(took, float64(packed)*p.perByte) < 0.9*float64(plain)*p.perByte
}

func (p *packer) sendTimed(b block) error {
	n := len(b)
	began := time.Now()
	err := p.send(&b)
	now := time.Since(began).Seconds() / float64(n)
	if p.perByte == 0 {
		p.perByte = now
	}
	p.perByte += (now - p.perByte) / 4
	return err
}

// end sends what is left, and how it ended.
func (p *packer) end(e ending) error {
	if e.Error == nil {
		if err := p.flush(); err != nil {
			return err
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	last := append(block{blockEnd}, b...)
	return p.send(&last)
}

// unpack writes the blocks that recv gives to w until the ending.
func unpack(recv func(*block) error, w io.Writer) (sum string, err error) {
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*blockSize))
	if err != nil {
		return "", err
	}
	defer unzip.Close()
	var plain []byte
	for {
		var b block
		if err := recv(&b); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		if len(b) == 0 {
			return "", errors.New("an empty block came")
		}
		switch kind, rest := b[0], b[1:]; kind {
		case blockPlain:
			_, err = w.Write(rest)
		case blockZstd:
			if plain, err = unzip.DecodeAll(rest, plain[:0]); err == nil {
				_, err = w.Write(plain)
			}
		case blockEnd:
			return ended(rest)
		default:
			err = fmt.Errorf("a block of unknown kind %d came", kind)
		}
		if err != nil {
			return "", err
		}
	}
}

func ended(b []byte) (string, error) {
	var e ending
	if err := strictly(b, &e); err != nil {
		return "", err
	}
	if e.Error != nil {
		return "", e.Error
	}
	return e.Sum, nil
}
