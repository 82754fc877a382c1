package token

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

// Preview permits to see, until a moment, why a placement shows what it shows.
type Preview struct {
	Placement string
	// LineItem or Creative, if set, is shown whatever the decision.
	LineItem, Creative string
	Until              time.Time // to the second
}

// previewVersion differs from a fill's version for good: the MAC covers it, so one kind of token cannot pass for the other.
const previewVersion = 0x50

// MaxPreview is how long a permission may last.
const MaxPreview = 31 * 24 * time.Hour

// Preview signs a permission; ids are those of the catalogue, at most 64 bytes each.
func (k *Keys) Preview(p *Preview) string {
	g := k.keys[0].signers.Get().(*signer)
	defer k.keys[0].signers.Put(g)
	b := append(g.buf[:0], previewVersion, k.keys[0].id)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Until.Unix()))
	for _, s := range [...]string{p.Placement, p.LineItem, p.Creative} {
		b = appendText(b, s, maxField)
	}
	return string(encode(nil, g.sign(b, b)))
}

// ParsePreview verifies a permission at a moment.
func (k *Keys) ParsePreview(text string, now time.Time) (Preview, error) {
	var p Preview
	if len(text) > maxText || strings.ContainsAny(text, "\r\n") { // which decoders of base64 skip
		return p, ErrMalformed
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 2+8+macSize || b[0] != previewVersion {
		return p, ErrMalformed
	}
	body, mac := b[:len(b)-macSize], b[len(b)-macSize:]
	if !k.verify(body, mac) {
		return p, ErrForged
	}
	p.Until = time.Unix(int64(binary.BigEndian.Uint64(body[2:])), 0)
	rest := body[10:]
	for _, into := range [...]*string{&p.Placement, &p.LineItem, &p.Creative} {
		if len(rest) < 1 || len(rest) < 1+int(rest[0]) || rest[0] > maxField {
			return Preview{}, ErrMalformed
		}
		*into, rest = string(rest[1:1+int(rest[0])]), rest[1+int(rest[0]):]
	}
	if len(rest) != 0 {
		return Preview{}, ErrMalformed
	}
	if now.After(p.Until) || p.Until.Sub(now) > MaxPreview+clockSkew {
		return p, ErrExpired
	}
	return p, nil
}
