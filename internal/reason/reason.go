// Package reason says why a request of our own failed.
package reason

import (
	"errors"
	"net/url"
)

// Of leaves out the method and the URL that net/http puts before every error of
// a client: whoever reports it names what was asked in words of their own, and a
// URL may hold a secret.
func Of(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		return whole.Err
	}
	return err
}
