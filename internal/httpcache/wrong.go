package httpcache

import (
	"net/http"
	"strings"
)

// aboutRequest reports an error that says what was wrong with a request: with
// its fields, its size, or with how many there were. Whoever sends such a
// request must not have the error stored as the answer to right ones: that is
// denial of service by a poisoned cache (CPDoS; RFC 6585, 3 to 5, forbids it
// for 428, 429 and 431). Errors about the target, such as 404, 405, 410 and
// 414, are others. A 400 may be either.
func aboutRequest(status int, request http.Header) bool {
	switch status {
	case http.StatusBadRequest:
		return isOdd(request)
	case http.StatusNotAcceptable, http.StatusRequestTimeout, http.StatusLengthRequired,
		http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusRequestedRangeNotSatisfiable, http.StatusExpectationFailed, http.StatusMisdirectedRequest,
		http.StatusTooEarly, http.StatusUpgradeRequired, http.StatusPreconditionRequired,
		http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

// maxUsual is a header that no server finds too large: half of the least limit
// among common ones, the 8 KiB of nginx, Apache httpd and Node.js up to 12.
const maxUsual = 4 << 10

// isOdd reports a header that may well be what a server calls bad.
func isOdd(request http.Header) bool {
	size := 0
	for name, values := range request {
		switch name {
		case "Content-Type", "Content-Encoding", "Expect", "Max-Forwards", "Te", "Cookie":
			return true
		}
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
			if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
				return true
			}
		}
	}
	return size > maxUsual
}
