package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// Protocol is the version of the wire. It changes with everything that an older
// side would misunderstand.
const Protocol = 1

// Magic begins the line by which the far side presents itself.
const Magic = "requorum-agent "

// greetMagic begins this side's answer.
const greetMagic = "requorum-client "

// strayLimit is how much may come before the line, and how long the line may be.
const strayLimit = 64 << 10

// Hello is who the far side is.
type Hello struct {
	Protocol  int    `json:"protocol"`
	Version   string `json:"version"` // of requorum
	OS        string `json:"os"`      // as Go names it
	Arch      string `json:"arch"`
	UID       int    `json:"uid"`
	PID       int    `json:"pid"`
	Hostname  string `json:"hostname"`
	BootID    string `json:"boot_id,omitempty"`
	MachineID string `json:"machine_id,omitempty"`
}

// Machine tells machines apart, and each boot of one; "" where it is not known.
func (h Hello) Machine() string {
	if h.BootID == "" {
		return ""
	}
	return h.MachineID + " " + h.BootID
}

func newHello(version string) Hello {
	hostname, _ := os.Hostname()
	return Hello{
		Protocol: Protocol, Version: version, OS: runtime.GOOS, Arch: runtime.GOARCH,
		UID: os.Getuid(), PID: os.Getpid(), Hostname: hostname,
		BootID: firstLine("/proc/sys/kernel/random/boot_id"), MachineID: firstLine("/etc/machine-id"),
	}
}

// Here is what an agent on this machine would say.
func Here(version string) Hello { return newHello(version) }

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// greeting is what this side says of itself.
type greeting struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"`
}

// sayLine writes a line of its own, whatever stands on the one before.
func sayLine(w io.Writer, magic string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s%s\n", magic, b)
	return err
}

// StrayError says that the far side is no agent, and what it said instead.
type StrayError struct {
	Said string
	Err  error
}

// Error implements error.
func (e *StrayError) Error() string {
	if said := strings.TrimSpace(e.Said); said != "" {
		return fmt.Sprintf("no requorum answers there (%v); it said: %.500q", e.Err, said)
	}
	return fmt.Sprintf("no requorum answers there (%v)", e.Err)
}

// Unwrap gives the cause.
func (e *StrayError) Unwrap() error { return e.Err }

// FindLine reads up to the line that begins with magic and returns the rest of
// it, and what came before. No byte after the line is taken from r.
func FindLine(r *bufio.Reader, magic string) (line []byte, stray string, err error) {
	var before bytes.Buffer
	for {
		b, err := readLine(r)
		if rest, ok := bytes.CutPrefix(b, []byte(magic)); ok && err == nil {
			return bytes.TrimRight(rest, "\r\n"), before.String(), nil
		}
		before.Write(b)
		if before.Len() > strayLimit {
			err = fmt.Errorf("more than %d KB came, and no greeting among them", strayLimit>>10)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the connection ended before any greeting")
			}
			return nil, before.String(), &StrayError{Said: before.String(), Err: err}
		}
	}
}

// readLine is ReadBytes('\n') with an end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var out []byte
	for {
		part, err := r.ReadSlice('\n')
		out = append(out, part...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(out) > strayLimit {
			return out, err
		}
	}
}

// fits says why the two sides can't speak with each other; "" where they can.
func fits(theirProtocol int, theirVersion, ourVersion string) string {
	switch {
	case theirProtocol != Protocol:
		return fmt.Sprintf("it speaks version %d of the agent's protocol, and this one version %d", theirProtocol, Protocol)
	case theirVersion != ourVersion:
		return fmt.Sprintf("it is requorum %s, and this one is %s", theirVersion, ourVersion)
	}
	return ""
}

// hear reads the far side's line.
func hear(r *bufio.Reader) (Hello, error) {
	line, stray, err := FindLine(r, Magic)
	if err != nil {
		return Hello{}, err
	}
	var h Hello
	if err := json.Unmarshal(line, &h); err != nil || h.Protocol == 0 {
		return Hello{}, &StrayError{Said: stray + Magic + string(line), Err: errors.New("its greeting is none")}
	}
	return h, nil
}
