package control

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
)

const (
	// minToken characters of a generated token are out of reach of guessing
	// at the rate that the guard permits.
	minToken = 16
	// maxToken bounds what is hashed for an unknown caller.
	maxToken = 512
	// minDistinct characters tell a generated token from a row of one key.
	minDistinct = 6
)

// placeholders are what people leave in examples, in lower case and without
// punctuation.
var placeholders = []string{"changeme", "changethis", "replaceme", "replacethis", "placeholder", "yourtoken",
	"yoursecret", "example", "password", "secrettoken", "tokenhere", "0123456789", "1234567890", "abcdefghij"}

// CheckToken reports every reason why a token is no secret: too short or too
// long, characters that a header does not carry, or a placeholder that was
// never replaced. Its error does not show the token.
func CheckToken(token string) error {
	const want = "want at least 16 random characters, such as those of: openssl rand -hex 32"
	if token == "" {
		return fmt.Errorf("token is empty: %s", want)
	}
	var errs []error
	if n := len(token); n < minToken || n > maxToken {
		errs = append(errs, fmt.Errorf("token has %d characters: want %d to %d", n, minToken, maxToken))
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("token holds white space or characters outside ASCII: want printable ASCII without spaces"))
	}
	if strings.HasPrefix(token, "{") && strings.HasSuffix(token, "}") {
		errs = append(errs, errors.New("token is a placeholder without a value: set the variable or the file that it names"))
	}
	if guessable(token) {
		errs = append(errs, fmt.Errorf("token looks like a placeholder: %s", want))
	}
	return errors.Join(errs...)
}

func guessable(token string) bool {
	plain := strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(strings.ToLower(token))
	for _, word := range placeholders {
		if strings.Contains(plain, word) {
			return true
		}
	}
	distinct := make(map[rune]bool)
	for _, r := range token {
		distinct[r] = true
	}
	return len(distinct) < minDistinct
}

// tokenSet holds the sums of the tokens that are accepted: one, or two while
// one replaces the other. It is immutable.
type tokenSet [][sha256.Size]byte

func newTokenSet(tokens []string) tokenSet {
	set := make(tokenSet, 0, len(tokens))
	for _, token := range tokens {
		// An empty token would let in whoever sends an empty one: it gets the sum
		// of nothing, which no token has.
		sum := [sha256.Size]byte{}
		if token != "" {
			sum = sha256.Sum256([]byte(token))
		}
		set = append(set, sum)
	}
	return set
}

// find gives the number of the token, from 1, or 0. It takes the same time for
// every token of one length, right or wrong.
func (s tokenSet) find(token string) int {
	if len(token) > maxToken {
		return 0
	}
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range s {
		match := subtle.ConstantTimeCompare(sum[:], s[i][:])
		found = subtle.ConstantTimeSelect(match, i+1, found)
	}
	return found
}

// bearer is the token of an Authorization field. RFC 9110, 11.1: the scheme's
// name is case-insensitive.
func bearer(field string) (token string, ok bool) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(field), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	token = strings.TrimSpace(rest)
	return token, token != ""
}
