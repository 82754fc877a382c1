package secretmanager

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// vault encrypts payloads (AES-256-GCM), each bound to its place so that ciphertexts cannot be swapped.
type vault struct{ aead cipher.AEAD }

func openVault(file string) (*vault, error) {
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the secrets: %w", err)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("the key of the secrets: %s has %d bytes, not 32; restore it, or delete it together with the secrets", file, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &vault{aead}, err
}

// makeKey writes a new key whole or not at all: a torn one would make every secret unreadable.
func makeKey(file string) ([]byte, error) {
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return key, os.Rename(file+".tmp", file)
}

func (v *vault) seal(plain []byte, place string) ([]byte, error) {
	nonce := make([]byte, v.aead.NonceSize())
	rand.Read(nonce)
	return v.aead.Seal(nonce, nonce, plain, []byte(place)), nil
}

func (v *vault) open(sealed []byte, place string) ([]byte, error) {
	n := v.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("the payload is damaged")
	}
	plain, err := v.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, errors.New("the payload cannot be decrypted: its key is another one, or it is damaged")
	}
	return plain, nil
}
