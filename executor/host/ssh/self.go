package ssh

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Program is the requorum that is put on hosts.
type Program struct {
	path string

	once sync.Once
	sum  string
	err  error

	zipOnce sync.Once
	zip     []byte
	zipErr  error
}

// NewProgram is the file at path; "" is this program.
func NewProgram(path string) *Program {
	if path == "" {
		path = "/proc/self/exe"
	}
	return &Program{path: path}
}

// Sum is its sha256, in hex.
func (p *Program) Sum() (string, error) {
	p.once.Do(func() {
		f, err := os.Open(p.path)
		if err != nil {
			p.err = err
			return
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			p.err = fmt.Errorf("read %s: %w", p.path, err)
		}
		p.sum = hex.EncodeToString(sum.Sum(nil))
	})
	return p.sum, p.err
}

// packed is it as it travels: once for all hosts.
func (p *Program) packed() ([]byte, error) {
	p.zipOnce.Do(func() {
		f, err := os.Open(p.path)
		if err != nil {
			p.zipErr = err
			return
		}
		defer f.Close()
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err == nil {
			_, err = io.Copy(z, f)
		}
		if err == nil {
			err = z.Close()
		}
		p.zip, p.zipErr = b.Bytes(), err
	})
	return p.zip, p.zipErr
}
