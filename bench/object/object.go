// Package object names the bodies that origin and peers serve: a body is a
// function of its size, so that whoever holds it can be checked by its hash.
package object

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Prefix is where the objects live, on the origin and on every peer.
const Prefix = "/objects/"

// alphabet has no character that a peer's configuration would read as anything
// but itself: no quote, brace, dollar or space.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// Path is the URL path of the object with a body of this many bytes.
func Path(size int) string { return Prefix + strconv.Itoa(size) }

// SizeOf reads the size back from a path.
func SizeOf(path string) (int, error) {
	text, ok := strings.CutPrefix(path, Prefix)
	size, err := strconv.Atoi(text)
	if !ok || err != nil || size < 0 || text != strconv.Itoa(size) {
		return 0, fmt.Errorf("path %q: want %s and a number of bytes, as in %s", path, Prefix, Path(1024))
	}
	return size, nil
}

// Body is the body of this many bytes. Two sizes differ from their first bytes
// on, so that one is never a prefix of another.
func Body(size int) []byte {
	body := make([]byte, size)
	state := uint32(size)*2654435761 + 1 // Knuth's multiplicative hash spreads neighbouring sizes
	for i := range body {
		state = state*1664525 + 1013904223 // the generator of Numerical Recipes: quick, and the same everywhere
		body[i] = alphabet[(state>>16)%uint32(len(alphabet))]
	}
	return body
}

// Hash identifies a body: SHA-256, in hexadecimal.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
