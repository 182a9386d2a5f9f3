package saved

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// A digest is five groups of four, 100 bits. Whoever may write plans could look for
// two with one digest, to have one approved and the other applied: with 100 bits
// that takes 2^50 tries, and each of them is made to cost 2^16 rounds. To find
// another plan for a digest that is given takes 2^100.
const (
	digestGroups = 5
	digestLen    = digestGroups*4 + digestGroups - 1
	digestRounds = 1 << 16
	digestSalt   = "requorum plan 1"
)

// alphabet is Crockford's: without i, l, o and u.
var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// digestOf is the digest of a file's content but for the digest itself. White space
// between its parts has no part in it; everything else has, so that nothing can be
// added that another reader would see and requorum not.
func digestOf(b []byte) (string, error) {
	var c bytes.Buffer
	if err := json.Compact(&c, b); err != nil {
		return "", err
	}
	text := c.Bytes()
	const key = `"digest":"`
	i := bytes.IndexByte(text, ',') + 1
	if i == 0 || !bytes.HasPrefix(text[i:], []byte(key)) || len(text) < i+len(key)+digestLen+1 || text[i+len(key)+digestLen] != '"' {
		return "", errors.New("its second key is not a digest")
	}
	whole := slices.Concat(text[:i+len(key)], text[i+len(key)+digestLen:])
	sum := sha256.Sum256(whole)
	raw, err := pbkdf2.Key(sha256.New, string(sum[:]), []byte(digestSalt), digestRounds, (digestGroups*20+7)/8)
	if err != nil {
		return "", err
	}
	letters := alphabet.EncodeToString(raw)[:digestGroups*4]
	var groups []string
	for ; letters != ""; letters = letters[4:] {
		groups = append(groups, letters[:4])
	}
	return strings.Join(groups, "-"), nil
}

// SameDigest compares a digest as a person wrote it with one of a file: capitals,
// spaces and what looks alike do not matter, an incomplete one is another.
func SameDigest(said, is string) bool { return plainDigest(said) == plainDigest(is) && is != "" }

func plainDigest(s string) string {
	return strings.NewReplacer("-", "", " ", "", "\t", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(strings.TrimSpace(s)))
}

// sums are the sha256 of what goes into a plan.
func sums(in planner.Input) (Sums, error) {
	c, err := meaning(in.Cluster)
	if err != nil {
		return Sums{}, err
	}
	cb, err := json.Marshal(c)
	if err != nil {
		return Sums{}, err
	}
	ob, err := json.Marshal(in.Observation)
	if err != nil {
		return Sums{}, err
	}
	out := Sums{Configuration: sumHex(cb), Observation: sumHex(ob)}
	if s := in.Observation.Snapshot; s != nil && s.Problem == "" {
		out.Snapshot = s.SHA256
	}
	return out, nil
}

// ConfigurationSum is the sha256 of what a configuration means.
func ConfigurationSum(c *spec.Cluster) (string, error) {
	s, err := sums(planner.Input{Cluster: c})
	return s.Configuration, err
}

func sumHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
