// Package token signs what was decided into a short text that travels through the browser and comes back with each event, so
// that an event can be counted without looking anything up and cannot be made up. Keys rotate: the first one signs, all verify.
// A token is base64url of: version, key id, body (varints and short strings), 16 bytes of HMAC-SHA256 over all before it.
// Preview signs permissions to look at decisions with the same keys; neither kind is accepted for the other.
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
	"strings"
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
	// leads: it is in no catalogue. A Landing longer than MaxLanding is left out of the token.
	Source, Deal, Seat, Landing string
	// Billing is the URL to be told when a bid's impression counts; it is held to MaxLanding too. A token has Landing or Billing.
	Billing string
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
	version  = 2
	macSize  = 16
	maxText  = 2304 // longer than any token that Append makes
	maxRaw   = 3 * maxText / 4
	maxField = 64
	maxArm   = 2*maxField + 1

	flagHouse   = 1
	flagInvalid = 2
	flagBilling = 4 // the URL at the end is Billing, else Landing
)

// Errors of Parse. They are told apart for metrics; a client learns only that the token is not accepted.
var (
	ErrMalformed = errors.New("malformed token")
	ErrForged    = errors.New("token signature does not verify")
	ErrExpired   = errors.New("token has expired")
)

// MaxLanding is how long the landing page of a bid may be.
const MaxLanding = 1024

// MinKey is the least length of a key in bytes.
const MinKey = 32

type key struct {
	id      byte
	signers *sync.Pool // of *signer
}

// signer is a keyed MAC and memory for one token, reused together: what is passed to a hash.Hash would else be allocated each time.
type signer struct {
	mac hash.Hash
	sum [sha256.Size]byte
	buf [maxRaw]byte
}

// sign appends the truncated MAC of msg to dst.
func (g *signer) sign(dst, msg []byte) []byte {
	g.mac.Reset()
	g.mac.Write(msg)
	return append(dst, g.mac.Sum(g.sum[:0])[:macSize]...)
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
		k.keys = append(k.keys, key{id: sum[0], signers: &sync.Pool{New: func() any { return &signer{mac: hmac.New(sha256.New, secret)} }}})
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
	g := k.keys[0].signers.Get().(*signer)
	defer k.keys[0].signers.Put(g)
	b := append(g.buf[:0], version, k.keys[0].id)
	var flags byte
	if c.House {
		flags |= flagHouse
	}
	if c.Invalid {
		flags |= flagInvalid
	}
	link := c.Landing
	if link == "" && c.Billing != "" {
		link, flags = c.Billing, flags|flagBilling
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, c.ID)
	b = binary.AppendUvarint(b, uint64(c.Issued))
	b = binary.AppendUvarint(b, uint64(c.CPMMicros))
	b = binary.BigEndian.AppendUint64(b, c.User)
	for _, s := range [...]string{c.Currency, c.Placement, c.Item, c.Creative, c.Source, c.Deal, c.Seat} {
		b = appendText(b, s, maxField)
	}
	b = appendText(b, c.Arm, maxArm)
	if len(link) > MaxLanding {
		link = "" // half a URL leads nowhere
	}
	b = binary.AppendUvarint(b, uint64(len(link)))
	b = append(b, link...)
	return encode(dst, g.sign(b, b))
}

func appendText(b []byte, s string, limit int) []byte {
	s = s[:min(len(s), limit)]
	return append(append(b, byte(len(s))), s...)
}

func encode(dst, raw []byte) []byte {
	return base64.RawURLEncoding.AppendEncode(dst, raw)
}

// clockSkew is how far ahead of ours another server's clock may be.
const clockSkew = 5 * time.Minute

// Parse verifies a token and reads its claims. It accepts tokens up to maxAge old at now. With ErrExpired the claims are returned
// too: the signature is good, and only too old.
func (k *Keys) Parse(text string, now time.Time, maxAge time.Duration) (Claims, error) {
	if len(text) > maxText || strings.ContainsAny(text, "\r\n") { // which decoders of base64 skip
		return Claims{}, ErrMalformed
	}
	var buf [maxRaw]byte
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
		return c, ErrExpired
	}
	return c, nil
}

func (k *Keys) verify(body, mac []byte) bool {
	for i := range k.keys {
		if k.keys[i].id == body[1] && k.keys[i].verify(body, mac) {
			return true
		}
	}
	return false
}

func (k *key) verify(body, mac []byte) bool {
	g := k.signers.Get().(*signer)
	defer k.signers.Put(g)
	var sum [macSize]byte
	msg := append(g.buf[:0], body...)
	return hmac.Equal(g.sign(sum[:0], msg), mac)
}

func parseBody(b []byte) (c Claims, err error) {
	if len(b) < 1+8 {
		return c, ErrMalformed
	}
	flags := b[0]
	c.House, c.Invalid = flags&flagHouse != 0, flags&flagInvalid != 0
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
	text := string(b) // once; the fields are parts of it
	field := func(into *string, limit int) bool {
		if len(text) < 1 || len(text) < 1+int(text[0]) || int(text[0]) > limit {
			return false
		}
		n := 1 + int(text[0])
		*into, text = text[1:n], text[n:]
		return true
	}
	for _, into := range [...]*string{&c.Currency, &c.Placement, &c.Item, &c.Creative, &c.Source, &c.Deal, &c.Seat} {
		if !field(into, maxField) {
			return c, ErrMalformed
		}
	}
	if !field(&c.Arm, maxArm) {
		return c, ErrMalformed
	}
	n, used := binary.Uvarint(b[len(b)-len(text):])
	if used <= 0 || n > MaxLanding || len(text) != used+int(n) {
		return c, ErrMalformed
	}
	if flags&flagBilling != 0 {
		c.Billing = text[used:]
	} else {
		c.Landing = text[used:]
	}
	return c, nil
}
