// Package mask takes personal data out of documents, for copies that are used outside of production. In goes a document; out comes
// one of the same shape in which each piece of personal data is a pseudonym: the same value is the same pseudonym within one copy
// and another one in the next, so that documents still fit together and nobody can be found again.
//
// What is personal is told by the field's name, and in all other text by its form (e-mail addresses, IP addresses, telephone
// numbers with a country code). The tag server itself stores no user ids and no whole IP addresses; this is the second line.
package mask

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
)

// fields whose text is personal whatever its form, in lower case.
var fields = map[string]bool{
	"email": true, "contactemail": true, "mail": true, "phone": true, "telephone": true, "mobile": true, "contactaddress": true, "address": true,
	"street": true, "firstname": true, "lastname": true, "fullname": true, "contactname": true, "username": true, "createdby": true, "updatedby": true,
	"ip": true, "ipaddress": true, "useragent": true, "userid": true, "uid": true, "cookie": true, "deviceid": true, "ifa": true, "idfa": true,
	"gaid": true, "consent": true, "tcstring": true,
}

var forms = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+` +
	`|\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b` +
	`|\b(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f]{0,4}` +
	`|\+\d{1,3}[ \d()/-]{6,18}\d`)

// Mask makes pseudonyms for one copy.
type Mask struct{ key [32]byte }

// New makes a mask with a key that nobody keeps.
func New() *Mask {
	m := &Mask{}
	rand.Read(m.key[:])
	return m
}

func (m *Mask) pseudonym(value string) string {
	mac := hmac.New(sha256.New, m.key[:])
	mac.Write([]byte(strings.ToLower(value)))
	sum := hex.EncodeToString(mac.Sum(nil)[:6])
	if strings.Contains(value, "@") {
		return "masked-" + sum + "@masked.invalid"
	}
	return "masked-" + sum
}

// Document masks one document. Its id stays: others refer to it.
func (m *Mask) Document(doc bson.Raw) (bson.Raw, error) {
	var d bson.D
	if err := bson.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	for i := range d {
		if d[i].Key != "_id" {
			d[i].Value = m.value(d[i].Key, d[i].Value)
		}
	}
	return bson.Marshal(d)
}

func (m *Mask) value(field string, v any) any {
	switch v := v.(type) {
	case string:
		if v != "" && fields[strings.ToLower(field)] {
			return m.pseudonym(v)
		}
		return forms.ReplaceAllStringFunc(v, m.pseudonym)
	case bson.D:
		for i := range v {
			v[i].Value = m.value(v[i].Key, v[i].Value)
		}
		return v
	case bson.A:
		for i := range v {
			v[i] = m.value(field, v[i])
		}
		return v
	case primitive.Binary:
		if fields[strings.ToLower(field)] {
			return primitive.Binary{Subtype: v.Subtype}
		}
	}
	return v
}
