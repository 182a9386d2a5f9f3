package host

import "github.com/requorum/requorum/planner"

// KeyAsk is a certificate, its key and a CA, as the file has them for a member, each an
// absolute path on its host.
type KeyAsk struct {
	planner.Place
	Kind string `json:"kind"` // planner.CertificateClient or planner.CertificatePeer
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// PID is the member's process, 0 where it does not run.
	PID int `json:"pid,omitempty"`
}

// ID tells it from the others that are asked for.
func (a KeyAsk) ID() string { return a.Name + " " + a.Kind }

// Keys is what lies there, as whoever runs the member can read it. A key never leaves
// its host.
type Keys struct {
	// Problem is a refusal's code where a file is not what it should be, or can't be
	// read, with Detail in words; "" where the key is the certificate's.
	Problem planner.Code `json:"problem,omitempty"`
	Detail  string       `json:"detail,omitempty"`
	// CA and Cert are the files' certificates, as PEM; what else is in a file is left out.
	CA   []byte `json:"ca,omitempty"`
	Cert []byte `json:"cert,omitempty"`
	// OldCA says why the process has another CA than lies there: etcd reads it only when
	// it starts. "" where it has that one, or does not run.
	OldCA planner.Fact[string] `json:"old_ca"`
}

// UnknownKeys are those of files that can't be looked at.
func UnknownKeys(asks []KeyAsk, why string) map[string]planner.Fact[Keys] {
	out := map[string]planner.Fact[Keys]{}
	for _, a := range asks {
		out[a.ID()] = planner.Unknown[Keys](why)
	}
	return out
}
