// Package token signs what was decided into a short text that travels through the browser and comes back with each event, so
// that an event can be counted without looking anything up and cannot be made up. Keys rotate: the first one signs, all verify.
// A token is base64url of: version, key id, body (varints and short strings), 16 bytes of HMAC-SHA256 over all before it.
package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"sync"
	"time"
)

// Claims are what a token says about one fill.
type Claims struct {
	// ID is random and unique to the fill: events are counted once per ID and kind.
	ID     uint64
	Issued int64 // Unix seconds
	// Placement, Item and Creative are ids of the catalogue, at most 64 bytes each.
	Placement, Item, Creative string
	// Source is the demand source that filled or is tried; Deal and Seat are of its bid. Landing is where a click on a bid's native ad
	// leads: it is in no catalogue.
	Source, Deal, Seat, Landing string
	// Arm is the experiment/arm of the visitor.
	Arm string
	// House is set for a house ad, Invalid for a request that looked like a bot's.
	House, Invalid bool
	// CPMMicros and Currency are the price at which the fill was decided.
	CPMMicros int64
	Currency  string
	// User is the hash that frequency caps are kept under; 0 for none.
	User uint64
}

const (
	version  = 1
	macSize  = 16
	maxText  = 512 // longer than any token that Append makes
	maxField = 64

	flagHouse   = 1
	flagInvalid = 2
)

// Errors of Parse. They are told apart for metrics; a client learns only that the token is not accepted.
var (
	ErrMalformed = errors.New("malformed token")
	ErrForged    = errors.New("token signature does not verify")
	ErrExpired   = errors.New("token has expired")
)

// MinKey is the least length of a key in bytes.
const MinKey = 32

type key struct {
	id   byte
	macs *sync.Pool // of hash.Hash, keyed
}

// Keys sign and verify.
type Keys struct{ keys []key }

// NewKeys takes secrets of at least MinKey bytes, the signing one first.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no token key given")
	}
	k := &Keys{}
	for i, s := range secrets {
		if len(s) < MinKey {
			return nil, fmt.Errorf("token key %d has %d bytes; at least %d are needed", i+1, len(s), MinKey)
		}
		sum := sha256.Sum256(s)
		secret := bytes.Clone(s)
		k.keys = append(k.keys, key{id: sum[0], macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}})
	}
	return k, nil
}

// RandomKeys are good for one process: its tokens mean nothing to any other.
func RandomKeys() (*Keys, error) {
	secret := make([]byte, MinKey)
	rand.Read(secret)
	return NewKeys(secret)
}

// LoadKeys reads a key file: one key per line in hex or base64, the signing one first; empty lines and # comments are skipped.
func LoadKeys(path string) (*Keys, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the token keys: %w", err)
	}
	var secrets [][]byte
	for n, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		secret, err := decodeKey(string(line))
		if err != nil {
			return nil, fmt.Errorf("token key file %s, line %d: %w", path, n+1, err)
		}
		secrets = append(secrets, secret)
	}
	keys, err := NewKeys(secrets...)
	if err != nil {
		return nil, fmt.Errorf("token key file %s: %w; make one with: openssl rand -hex 32", path, err)
	}
	return keys, nil
}

func decodeKey(s string) ([]byte, error) {
	if b, err := hex.DecodeString(s); err == nil {
		return b, nil
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(s); err == nil {
			return b, nil
		}
	}
	return nil, errors.New("is neither hex nor base64")
}

// Append signs claims and appends the token's text to dst.
func (k *Keys) Append(dst []byte, c *Claims) []byte {
	var raw [3 * maxText / 4]byte
	b := append(raw[:0], version, k.keys[0].id)
	var flags byte
	if c.House {
		flags |= flagHouse
	}
	if c.Invalid {
		flags |= flagInvalid
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, c.ID)
	b = binary.AppendUvarint(b, uint64(c.Issued))
	b = binary.AppendUvarint(b, uint64(c.CPMMicros))
	b = binary.BigEndian.AppendUint64(b, c.User)
	for _, s := range [...]string{c.Currency, c.Placement, c.Item, c.Creative} {
		s = s[:min(len(s), maxField)]
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	b = k.keys[0].sign(b, b)
	n := base64.RawURLEncoding.EncodedLen(len(b))
	dst = append(dst, make([]byte, n)...)
	base64.RawURLEncoding.Encode(dst[len(dst)-n:], b)
	return dst
}

// sign appends the truncated MAC of msg to dst.
func (k *key) sign(dst, msg []byte) []byte {
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	mac.Write(msg)
	var sum [sha256.Size]byte
	return append(dst, mac.Sum(sum[:0])[:macSize]...)
}

// clockSkew is how far ahead of ours another server's clock may be.
const clockSkew = 5 * time.Minute

// Parse verifies a token and reads its claims. It accepts tokens up to maxAge old at now.
func (k *Keys) Parse(text string, now time.Time, maxAge time.Duration) (Claims, error) {
	if len(text) > maxText {
		return Claims{}, ErrMalformed
	}
	var buf [3 * maxText / 4]byte
	n, err := base64.RawURLEncoding.Strict().Decode(buf[:], []byte(text))
	if err != nil || n < 2+macSize || buf[0] != version {
		return Claims{}, ErrMalformed
	}
	body, mac := buf[:n-macSize], buf[n-macSize:n]
	if !k.verify(body, mac) {
		return Claims{}, ErrForged
	}
	c, err := parseBody(body[2:])
	if err != nil {
		return Claims{}, err
	}
	age := now.Sub(time.Unix(c.Issued, 0))
	if age > maxAge || age < -clockSkew {
		return Claims{}, ErrExpired
	}
	return c, nil
}

func (k *Keys) verify(body, mac []byte) bool {
	for i := range k.keys {
		if k.keys[i].id != body[1] {
			continue
		}
		var sum [macSize]byte
		if hmac.Equal(k.keys[i].sign(sum[:0], body), mac) {
			return true
		}
	}
	return false
}

func parseBody(b []byte) (c Claims, err error) {
	if len(b) < 1+8 {
		return c, ErrMalformed
	}
	c.House, c.Invalid = b[0]&flagHouse != 0, b[0]&flagInvalid != 0
	c.ID = binary.BigEndian.Uint64(b[1:])
	b = b[9:]
	var v uint64
	for _, into := range []*int64{&c.Issued, &c.CPMMicros} {
		n := 0
		if v, n = binary.Uvarint(b); n <= 0 || v > 1<<62 {
			return c, ErrMalformed
		}
		*into, b = int64(v), b[n:]
	}
	if len(b) < 8 {
		return c, ErrMalformed
	}
	c.User, b = binary.BigEndian.Uint64(b), b[8:]
	for _, into := range []*string{&c.Currency, &c.Placement, &c.Item, &c.Creative} {
		if len(b) < 1 || len(b) < 1+int(b[0]) || b[0] > maxField {
			return c, ErrMalformed
		}
		*into, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	if len(b) != 0 {
		return c, ErrMalformed
	}
	return c, nil
}
