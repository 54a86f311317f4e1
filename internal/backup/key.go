package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Key encrypts backups and opens them. Nil does neither.
type Key struct {
	to   age.Recipient
	from []age.Identity
}

// ageIntro is how an encrypted file begins.
const ageIntro = "age-encryption.org/"

// ParseKey reads the identities of age, one a line, as age-keygen and NewKey write
// them. The first one encrypts; all open what was encrypted before.
func ParseKey(text string) (*Key, error) {
	// The error of age would show what it could not read.
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil || len(identities) == 0 {
		return nil, errors.New("want lines that begin with AGE-SECRET-KEY-1, as edge backup --new-key or age-keygen write them")
	}
	k := &Key{from: identities}
	switch first := identities[0].(type) {
	case *age.X25519Identity:
		k.to = first.Recipient()
	case *age.HybridIdentity:
		k.to = first.Recipient()
	default:
		return nil, errors.New("first line: want a key that can encrypt too, such as AGE-SECRET-KEY-1…")
	}
	return k, nil
}

// NewKey makes a key.
func NewKey() (string, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	return identity.String(), nil
}

// seal encrypts, if there is a key.
func (k *Key) seal(data []byte) ([]byte, error) {
	if k == nil {
		return data, nil
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, k.to)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if _, err = w.Write(data); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed.Bytes(), nil
}

func (k *Key) open(data []byte) ([]byte, error) {
	encrypted := bytes.HasPrefix(data, []byte(ageIntro))
	switch {
	case k == nil && encrypted:
		return nil, errors.New("backup is encrypted: want its key")
	case k == nil:
		return data, nil
	case !encrypted:
		return nil, errors.New("backup is not encrypted, though there is a key: whoever can write there could have made it; leave the key out if you trust it")
	}
	r, err := age.Decrypt(bytes.NewReader(data), k.from...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return nil, errors.New("backup was encrypted with another key")
		}
		return nil, fmt.Errorf("damaged backup: %w", err)
	}
	opened, err := io.ReadAll(io.LimitReader(r, 2*MaxBytes))
	if err != nil {
		return nil, fmt.Errorf("damaged backup: %w", err)
	}
	return opened, nil
}
