package tokens

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

func marshalRSA(key *rsa.PrivateKey) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }

func parseRSA(der []byte) (*rsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an RSA key")
	}
	return key, nil
}

// Identity makes an identity token of a service account for an audience, as the metadata server gives it: issuer
// https://accounts.google.com, valid for an hour. full adds the e-mail claims (format=full).
func (i *Issuer) Identity(email, audience string, full bool) (string, error) {
	now := i.now()
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": audience, "azp": UniqueID(email), "sub": UniqueID(email),
		"iat": now.Unix(), "exp": now.Add(Lifetime).Unix(),
	}
	if full {
		claims["email"], claims["email_verified"] = email, true
	}
	head, err := json.Marshal(map[string]string{"alg": "RS256", "kid": i.keyID, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign an identity token: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// Keys is the public key set in JSON, as https://www.googleapis.com/oauth2/v3/certs serves Google's.
func (i *Issuer) Keys() ([]byte, error) {
	exponent := binary.BigEndian.AppendUint32(nil, uint32(i.key.PublicKey.E))
	for len(exponent) > 1 && exponent[0] == 0 {
		exponent = exponent[1:]
	}
	return json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": i.keyID,
		"n": base64.RawURLEncoding.EncodeToString(i.key.PublicKey.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(exponent),
	}}})
}

// SetClock replaces the clock, for tests of expiry.
func (i *Issuer) SetClock(now func() time.Time) { i.now = now }

// UniqueID is the 21-digit number of an account whose own number is not known: always the same for one name.
func UniqueID(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fmt.Sprintf("1%020d", h.Sum64())
}
