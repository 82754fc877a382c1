package tokens

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t testing.TB) (*Issuer, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca", "token-keys.json")
	i, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return i, file
}

func TestTokensSurviveARestartAndExpire(t *testing.T) {
	i, file := open(t)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v %v, want mode 0600", info, err)
	}
	token, _ := i.Access("serviceAccount:a@p.iam.gserviceaccount.com", []string{"x"}, time.Minute)
	again, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := again.Verify(token)
	if err != nil || c.Principal != "serviceAccount:a@p.iam.gserviceaccount.com" || c.Scopes != "x" {
		t.Fatalf("after reopening: %+v, %v", c, err)
	}
	again.SetClock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	if _, err := again.Verify(token); !errors.Is(err, ErrExpired) {
		t.Fatalf("two minutes later: %v, want ErrExpired", err)
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	i, _ := open(t)
	other, _ := open(t)
	token, _ := other.Access("serviceAccount:a", nil, 0)
	mine, _ := i.Access("serviceAccount:a", nil, 0)
	for _, bad := range []string{"", Prefix, Prefix + ".", token, mine[:len(mine)-2], strings.Replace(mine, ".patag-", ".patag-A", 1)} {
		if _, err := i.Verify(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("Verify(%q) = %v, want ErrInvalid", bad, err)
		}
	}
}

func TestAuthenticator(t *testing.T) {
	i, _ := open(t)
	if _, err := NewAuthenticator(i, "", "user:admin"); err == nil {
		t.Fatal("an empty administrator's token was accepted")
	}
	a, err := NewAuthenticator(i, "0123456789abcdef", "user:admin")
	if err != nil {
		t.Fatal(err)
	}
	token, _ := i.Access("serviceAccount:a", nil, 0)
	for in, want := range map[string]string{"0123456789abcdef": "user:admin", token: "serviceAccount:a", "": "", "0123456789abcdeF": ""} {
		if got, err := a.Authenticate(in); got != want || (err == nil) != (want != "") {
			t.Errorf("Authenticate(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestIdentityTokenIsSigned(t *testing.T) {
	i, _ := open(t)
	jwt, err := i.Identity("a@p.iam.gserviceaccount.com", "https://x", true)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(jwt, ".")
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&i.key.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
		t.Fatal(err)
	}
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if !strings.Contains(string(body), `"email":"a@p.iam.gserviceaccount.com"`) || !strings.Contains(string(body), `"aud":"https://x"`) {
		t.Errorf("claims: %s", body)
	}
}

func FuzzVerify(f *testing.F) {
	i, _ := open(f)
	good, _ := i.Access("serviceAccount:a", nil, 0)
	f.Add(good)
	f.Add(Prefix + "e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if c, err := i.Verify(token); err == nil && token != good {
			// base64 has spare bits in its last character; a token that decodes to the same bytes is the same token.
			if c.Principal != "serviceAccount:a" {
				t.Errorf("forged: %q → %+v", token, c)
			}
		}
	})
}
