// Package tokens makes and checks the credentials that the sandbox hands out in Google's name: access tokens
// ("ya29.…", opaque to their bearer) and identity tokens (JWTs signed with RS256, as Google's are). The keys lie in
// one file, so tokens stay valid across a restart. It does not know who may have a token: its callers decide.
package tokens

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Prefix is how every access token of Google's begins, and every one of the sandbox's.
const Prefix = "ya29.patag-"

// Lifetime is how long Google's access tokens are valid when they are made.
const Lifetime = time.Hour

var (
	// ErrInvalid says that a token was not made here or was changed.
	ErrInvalid = errors.New("the token was not issued by this sandbox")
	// ErrExpired says that a token was good once.
	ErrExpired = errors.New("the token has expired")
)

// Claims is what an access token says.
type Claims struct {
	// Principal is the IAM member: "serviceAccount:EMAIL" or "serviceAccount:POOL[NAMESPACE/NAME]".
	Principal string `json:"p"`
	Scopes    string `json:"s,omitempty"`
	// Expires is in seconds since 1970.
	Expires int64 `json:"e"`
}

// Issuer makes tokens and checks them; safe for concurrent use.
type Issuer struct {
	secret []byte
	key    *rsa.PrivateKey
	keyID  string
	now    func() time.Time
}

// Open reads the keys from a file, which it makes (mode 0600) when it is not there.
func Open(file string) (*Issuer, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = create(file)
	}
	if err != nil {
		return nil, fmt.Errorf("open the token keys: %w", err)
	}
	var keys keyFile
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, fmt.Errorf("read the token keys in %s: %w; remove the file to have new ones made", file, err)
	}
	key, err := parseRSA(keys.RSA)
	if err != nil {
		return nil, fmt.Errorf("read the token keys in %s: %w; remove the file to have new ones made", file, err)
	}
	if len(keys.Secret) < 32 {
		return nil, fmt.Errorf("read the token keys in %s: the secret is too short; remove the file to have new ones made", file)
	}
	sum := sha256.Sum256(key.PublicKey.N.Bytes())
	return &Issuer{secret: keys.Secret, key: key, keyID: fmt.Sprintf("%x", sum[:20]), now: time.Now}, nil
}

type keyFile struct {
	Secret []byte `json:"secret"`
	RSA    []byte `json:"rsa"`
}

func create(file string) ([]byte, error) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := marshalRSA(key)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(keyFile{Secret: secret, RSA: der})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".token-keys-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	// Link, not rename: of two processes that start together, both use the keys of the first.
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(file)
}

// Access makes an access token for a principal. A validity of 0 means Lifetime.
func (i *Issuer) Access(principal string, scopes []string, valid time.Duration) (token string, expires time.Time) {
	if valid <= 0 {
		valid = Lifetime
	}
	expires = i.now().Add(valid).Truncate(time.Second)
	body, err := json.Marshal(Claims{Principal: principal, Scopes: strings.Join(scopes, " "), Expires: expires.Unix()})
	if err != nil {
		panic(err) // strings and a number always marshal
	}
	payload := base64.RawURLEncoding.EncodeToString(body)
	return Prefix + payload + "." + base64.RawURLEncoding.EncodeToString(i.mac(payload)), expires
}

// Verify returns what a valid access token says, or ErrInvalid or ErrExpired.
func (i *Issuer) Verify(token string) (Claims, error) {
	rest, ok := strings.CutPrefix(token, Prefix)
	if !ok {
		return Claims{}, ErrInvalid
	}
	payload, mac, ok := strings.Cut(rest, ".")
	if !ok {
		return Claims{}, ErrInvalid
	}
	got, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil || !hmac.Equal(got, i.mac(payload)) {
		return Claims{}, ErrInvalid
	}
	body, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return Claims{}, ErrInvalid
	}
	var c Claims
	if err := json.Unmarshal(body, &c); err != nil {
		return Claims{}, ErrInvalid
	}
	if i.now().Unix() >= c.Expires {
		return Claims{}, ErrExpired
	}
	return c, nil
}

func (i *Issuer) mac(payload string) []byte {
	h := hmac.New(sha256.New, i.secret)
	h.Write([]byte(payload))
	return h.Sum(nil)
}

// Authenticator tells the API and the registry whose token a request bears.
type Authenticator struct {
	issuer *Issuer
	admin  [sha256.Size]byte
	name   string
}

// NewAuthenticator accepts the issuer's tokens and the administrator's, who is called adminPrincipal
// ("user:admin@example.com").
func NewAuthenticator(i *Issuer, adminToken, adminPrincipal string) (*Authenticator, error) {
	if len(adminToken) < 16 {
		return nil, errors.New("the administrator's token is shorter than 16 characters; remove the token file to have a new one made")
	}
	return &Authenticator{issuer: i, admin: sha256.Sum256([]byte(adminToken)), name: adminPrincipal}, nil
}

// Authenticate returns the IAM member that a token stands for.
func (a *Authenticator) Authenticate(token string) (principal string, err error) {
	// Equal lengths on both sides (digests), so the comparison tells nothing of the token by its time.
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], a.admin[:]) == 1 {
		return a.name, nil
	}
	c, err := a.issuer.Verify(token)
	if err != nil {
		return "", err
	}
	return c.Principal, nil
}
