package httpcache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/coding"
	"github.com/edgegw/edge/internal/unit"
)

// Encoding is what operators may choose about content codings. Its zero value
// encodes.
type Encoding struct {
	// Off sends bodies as the origin sent them.
	Off bool `json:"off,omitempty"`
	// Codings are those on offer; of what a client likes alike, the first.
	// Default br, zstd, gzip: br is the smallest, and all browsers and
	// Cloudflare ask for it, so that most entries are encoded once only.
	Codings []coding.Coding `json:"codings,omitempty"`
	// MinLength is the smallest body that is encoded. Default 1 KiB: below,
	// it fits a packet as it is.
	MinLength unit.Bytes `json:"min_length,omitempty"`
	// MaxLength is the largest one, which bounds what the encoding of a body
	// takes. Default 8 MiB.
	MaxLength unit.Bytes `json:"max_length,omitempty"`
}

const (
	defaultMinEncoded = 1 << 10
	defaultMaxEncoded = 8 << 20
)

var defaultCodings = []coding.Coding{coding.Brotli, coding.Zstd, coding.Gzip}

// IsZero reports that nothing was chosen.
func (o Encoding) IsZero() bool {
	return !o.Off && len(o.Codings) == 0 && o.MinLength == 0 && o.MaxLength == 0
}

// Validate reports every mistake.
func (o *Encoding) Validate() error {
	var errs []error
	for i, c := range o.Codings {
		if c == coding.Identity {
			errs = append(errs, fmt.Errorf("codings: %s: want br, zstd and gzip", c))
		}
		if slices.Contains(o.Codings[:i], c) {
			errs = append(errs, fmt.Errorf("codings: %s is named twice: want each of br, zstd and gzip at most once", c))
		}
	}
	if o.MinLength < 0 {
		errs = append(errs, fmt.Errorf("min_length %s: want more than 0, or 0 for %s", o.MinLength, unit.Bytes(defaultMinEncoded)))
	}
	if least, most := o.bounds(); most < least {
		errs = append(errs, fmt.Errorf("max_length %s: want at least min_length, %s", unit.Bytes(most), unit.Bytes(least)))
	}
	return errors.Join(errs...)
}

func (o *Encoding) order() []coding.Coding {
	if len(o.Codings) == 0 {
		return defaultCodings
	}
	return o.Codings
}

func (o *Encoding) bounds() (least, most int64) {
	return o.MinLength.Or(defaultMinEncoded), o.MaxLength.Or(defaultMaxEncoded)
}

// fits reports a body that is worth encoding, and not too much of it.
func (o *Encoding) fits(size int64) bool {
	least, most := o.bounds()
	return least <= size && size <= most
}

// covers reports that an answer about to be stored may be encoded: text as the
// origin wrote it, the same for everyone, that nobody forbids to transform (RFC
// 9110, 7.7) and nothing in its header describes byte by byte.
//
// What is not the same for everyone may hold a secret beside what a visitor
// chose, whose length then tells (BREACH): answers to credentials or cookies,
// or with cookies.
func (o *Encoding) covers(d *draft, out http.Header) bool {
	switch {
	case o.Off, !bodyAllowed(d.status), d.status == http.StatusPartialContent, len(d.header["Content-Encoding"]) > 0, !compressible(d.header):
		return false
	case len(d.header["Set-Cookie"]) > 0, len(out["Set-Cookie"]) > 0, len(d.request.Header["Authorization"]) > 0:
		return false
	case slices.ContainsFunc(d.storability.names, isCredential):
		return false
	case forbidsTransforms(d.header), forbidsTransforms(out), slices.ContainsFunc(byteFields, func(name string) bool { return len(out[name]) > 0 }):
		return false
	case !isTag(out["Etag"]):
		return false
	}
	length := declaredLength(d.header)
	return length < 0 || o.fits(length)
}

// isCredential reports a request field that says who is asking; beside the
// registered ones, the names for keys and tokens that applications use.
func isCredential(name string) bool {
	return name == "Cookie" || name == "Authorization" ||
		familyOf(name) != "" && (strings.HasSuffix(name, "Key") || strings.HasSuffix(name, "Apikey") || strings.HasSuffix(name, "Token"))
}

// byteFields hold digests or signatures of the body as the origin sent it: RFC
// 9530, RFC 3230, RFC 1864, RFC 9421.
var byteFields = []string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Signature"}

func forbidsTransforms(h http.Header) bool {
	return len(h["Cache-Control"]) > 0 && cacherules.ParseDirectives(h["Cache-Control"]).NoTransform
}

// isTag reports no entity tag or one that is well-formed. Others cannot be told
// apart by coding.
func isTag(lines []string) bool {
	if len(lines) == 0 {
		return true
	}
	opaque := strings.TrimPrefix(lines[0], "W/")
	return len(lines) == 1 && len(opaque) >= 2 && opaque[0] == '"' && strings.IndexByte(opaque[1:], '"') == len(opaque)-2
}

// compressible reports a media type of text, or of what shrinks like it.
func compressible(h http.Header) bool {
	lines := h["Content-Type"]
	if len(lines) != 1 {
		return false
	}
	media, _, _ := strings.Cut(lines[0], ";")
	media = strings.ToLower(strings.Trim(media, " \t"))
	if strings.HasPrefix(media, "text/") {
		return media != "text/event-stream"
	}
	_, suffix, _ := strings.Cut(media, "+") // RFC 6839
	return textual[media] || suffix == "json" || suffix == "xml" || suffix == "yaml"
}

var textual = map[string]bool{
	"application/json": true, "application/javascript": true, "application/x-javascript": true,
	"application/ecmascript": true, "application/xml": true, "application/wasm": true,
	"application/x-ndjson": true, "application/jsonl": true, "application/graphql": true,
	"application/yaml": true, "application/toml": true, "application/sql": true, "application/rtf": true,
	"application/x-www-form-urlencoded": true, "application/vnd.ms-fontobject": true,
	"font/ttf": true, "font/otf": true, "font/collection": true,
	"image/bmp": true, "image/x-icon": true, "image/vnd.microsoft.icon": true,
}

// addVary says that the answer depends on Accept-Encoding, unless it does
// already. The values are not changed in place.
func addVary(h http.Header) {
	for _, line := range h["Vary"] {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), acceptEncoding) {
				return
			}
		}
	}
	h["Vary"] = append(slices.Clone(h["Vary"]), acceptEncoding)
}
