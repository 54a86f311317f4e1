package rawhit

import (
	"bytes"
	"net/http"
)

// ignored are request fields on which no answer of a cache depends unless it
// varies by them or a handler looks at them: what browsers say of themselves,
// and what CDNs and platforms add to each request.
var ignored = []string{
	"Accept", "Accept-Language", "Cdn-Loop", "Cf-Connecting-Ip", "Cf-Ipcountry", "Cf-Ray", "Cf-Visitor", "Dnt",
	"Priority", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode",
	"Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc", "Traceparent", "Tracestate", "True-Client-Ip",
	"Upgrade-Insecure-Requests", "User-Agent", "X-Amzn-Trace-Id", "X-Forwarded-For", "X-Railway-Edge",
	"X-Railway-Request-Id", "X-Real-Ip", "X-Request-Start",
}

// longestIgnored is the length of the longest of them.
const longestIgnored = len("Upgrade-Insecure-Requests")

// fields are names of request fields, in small letters.
type fields map[string]bool

// newFields are the ignored ones, less those that a handler looks at.
func newFields(kept []string) fields {
	f := make(fields)
	for _, name := range ignored {
		f[lower(name)] = true
	}
	for _, name := range kept {
		delete(f, lower(name))
	}
	return f
}

func lower(name string) string {
	var space [64]byte
	return string(appendLower(space[:0], name))
}

func appendLower[T string | []byte](b []byte, text T) []byte {
	for i := range len(text) {
		c := text[i]
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// variesBy reports that the choice of an answer depends on an ignored field.
func (f fields) variesBy(varies func(string) bool) bool {
	for name := range f {
		if varies(http.CanonicalHeaderKey(name)) {
			return true
		}
	}
	return false
}

// endOfBlock is the end of the request header at the start of b: of request
// line, fields and the empty line; 0 if it has not come as a whole.
func endOfBlock(b []byte) int {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return 0
}

// appendKey appends the lines of a request header, which ends with an empty
// one, except for those of ignored fields. It reports false for one that
// net/http might read in another way than line by line, or might refuse
// because of an ignored field: a bare CR or LF, a continued line (RFC 9112,
// 5.2), a control character.
//
// Two headers with the same key that it accepts mean the same to net/http but
// for ignored fields: their other lines are the same bytes in the same order,
// and a well-formed line changes nothing about its neighbours.
func (f fields) appendKey(key, block []byte) ([]byte, bool) {
	first := true
	for len(block) > 0 {
		end := bytes.IndexByte(block, '\n')
		if end < 1 || bytes.IndexByte(block[:end], '\r') != end-1 {
			return key, false
		}
		line := block[:end-1]
		if !first && len(line) > 0 {
			if line[0] == ' ' || line[0] == '\t' {
				return key, false
			}
			name, value, isField := bytes.Cut(line, []byte(":"))
			if isField && f.has(name) {
				if !plainText(value) {
					return key, false
				}
				block = block[end+1:]
				continue
			}
		}
		first = false
		key = append(key, block[:end+1]...)
		block = block[end+1:]
	}
	return key, true
}

func (f fields) has(name []byte) bool {
	if len(name) > longestIgnored {
		return false
	}
	var space [longestIgnored]byte
	return f[string(appendLower(space[:0], name))]
}

// plainText reports a field value of printable ASCII and tabs. RFC 9110, 5.5,
// has more; such requests take the long way.
func plainText[T string | []byte](value T) bool {
	for i := range len(value) {
		c := value[i]
		if c < ' ' && c != '\t' || c > '~' {
			return false
		}
	}
	return true
}

// repeatable reports that a request that net/http has parsed says nothing that
// makes its answer its own, or that would have to be looked at anew each time.
func repeatable(r *http.Request) bool {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Close {
		return false
	}
	for name, values := range r.Header {
		switch name {
		case "Connection":
			if len(values) != 1 || lower(values[0]) != "keep-alive" {
				return false
			}
		case "Authorization", "Content-Length", "Content-Type", "Cookie", "Expect", "If-Match", "If-Modified-Since",
			"If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection",
			"Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			return false
		}
	}
	return true
}
