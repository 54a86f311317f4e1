package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// readBody decodes one JSON object of at most limit bytes that has no fields
// but the known ones. The type has to be said: a browser cannot be made to send
// it across origins without asking first.
func (c *call) readBody(limit int64, into any) error {
	given := c.r.Header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(given); err != nil || kind != "application/json" {
		return problem(http.StatusUnsupportedMediaType, CodeBody, "Content-Type %q: want application/json", shorten(given))
	}
	decoder := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, limit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return bodyProblem(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return bodyProblem(err)
		}
		return problem(http.StatusBadRequest, CodeBody, "more follows the JSON object: want a single one")
	}
	return nil
}

func bodyProblem(err error) error {
	var (
		tooLarge *http.MaxBytesError
		badType  *json.UnmarshalTypeError
		syntax   *json.SyntaxError
	)
	switch {
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, CodeBody, "body: want at most %d bytes", tooLarge.Limit)
	case errors.As(err, &badType):
		// The path leads through embedded structs, which JSON does not show.
		field := cmp.Or(badType.Field[strings.LastIndexByte(badType.Field, '.')+1:], "body")
		return invalid(http.StatusBadRequest, Mistake{field, badType.Value, "a JSON " + jsonKind(badType.Type.String())})
	case errors.As(err, &syntax):
		return problem(http.StatusBadRequest, CodeBody, "body is not JSON at byte %d: %v", syntax.Offset, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return problem(http.StatusBadRequest, CodeBody, "body is empty or cut short: want a JSON object")
	}
	// The decoder has no type for this error.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return invalid(http.StatusBadRequest, Mistake{"body", shorten(strings.Trim(field, `"`)), "a field that is known here"})
	}
	return problem(http.StatusBadRequest, CodeBody, "body: %v", err)
}

// jsonKind names what JSON has for a Go type.
func jsonKind(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "list of strings"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "string"
	}
	return "object"
}
