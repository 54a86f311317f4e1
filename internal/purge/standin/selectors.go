package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Codes of refused requests. Cloudflare documents 1092; it documents no code
// for most other mistakes, so codeInvalid is the stand-in's own.
const (
	codeNone    = 1012
	codeMixed   = 1092
	codeInvalid = 1004
)

// The documented forms of selectors.
var (
	tagForm    = regexp.MustCompile(`^[!-+\--~]+$`)
	hostForm   = regexp.MustCompile(`^[^/:?#\s]{1,253}$`)
	prefixForm = regexp.MustCompile(`^[^/:?#\s]+(/[^?#\s]*)?$`)
	urlForm    = regexp.MustCompile(`^https?://[^/\s]+[^\s#]*$`)
)

const (
	flexItems = 100
	maxTag    = 1024
	// prefixItems is the smaller of the two numbers in Cloudflare's pages.
	prefixItems   = 30
	maxSeparators = 31
)

// readSelectors gives the kind and items of a body that Cloudflare would take,
// or a reply with a status that refuses it.
func readSelectors(r *http.Request, body []byte, fileItems int) (string, []string, reply) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return "", nil, invalid("Content-Type %q: want application/json", r.Header.Get("Content-Type"))
	}
	var fields map[string]json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&fields); err != nil || fields == nil {
		return "", nil, invalid("body: want a JSON object")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return "", nil, invalid("body: want one JSON object and nothing after it")
	}
	kinds := slices.Sorted(maps.Keys(fields))
	for _, kind := range kinds {
		if !slices.Contains([]string{"files", "hosts", "prefixes", "purge_everything", "tags"}, kind) {
			return "", nil, invalid("unknown field %q", kind)
		}
	}
	switch {
	case len(kinds) == 0:
		return "", nil, refuse(http.StatusBadRequest, codeNone, `Request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes"`)
	case len(kinds) > 1 && fields["purge_everything"] != nil:
		return "", nil, refuse(http.StatusBadRequest, codeMixed, `Request cannot contain "purge_everything" and any of "files", "tags", "hosts" or "prefixes"`)
	case len(kinds) > 1:
		return "", nil, invalid("want one of %s", strings.Join(kinds, ", "))
	}
	items, err := readItems(kinds[0], fields[kinds[0]], fileItems)
	if err != nil {
		return "", nil, invalid("%s: %v", kinds[0], err)
	}
	return kinds[0], items, reply{}
}

func invalid(format string, args ...any) reply {
	return refuse(http.StatusBadRequest, codeInvalid, format, args...)
}

func readItems(kind string, raw json.RawMessage, fileItems int) ([]string, error) {
	switch kind {
	case "purge_everything":
		var yes bool
		if json.Unmarshal(raw, &yes) != nil || !yes {
			return nil, fmt.Errorf("want true")
		}
		return nil, nil
	case "files":
		return readFiles(raw, fileItems)
	case "tags":
		return readList(raw, flexItems, func(text string) bool { return len(text) <= maxTag && tagForm.MatchString(text) })
	case "hosts":
		return readList(raw, flexItems, hostForm.MatchString)
	default:
		return readList(raw, prefixItems, func(text string) bool {
			return prefixForm.MatchString(text) && strings.Count(text, "/") <= maxSeparators
		})
	}
}

func readList(raw json.RawMessage, limit int, valid func(string) bool) ([]string, error) {
	var items []*string
	if json.Unmarshal(raw, &items) != nil || len(items) == 0 || len(items) > limit {
		return nil, fmt.Errorf("want a list of 1 to %d strings, got %d", limit, len(items))
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		if item == nil || !valid(*item) {
			return nil, fmt.Errorf("bad item %s", show(item))
		}
		out = append(out, *item)
	}
	return out, nil
}

func show(item *string) string {
	if item == nil {
		return "null"
	}
	return fmt.Sprintf("%.60q", *item)
}

// readFiles takes URLs, or objects of a URL and the headers of its cache key,
// but not both in one call.
func readFiles(raw json.RawMessage, limit int) ([]string, error) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || len(items) == 0 || len(items) > limit {
		return nil, fmt.Errorf("want a list of 1 to %d URLs, got %d", limit, len(items))
	}
	if items[0][0] == '"' {
		return readList(raw, limit, urlForm.MatchString)
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		var file struct {
			URL     *string           `json:"url"`
			Headers map[string]string `json:"headers"`
		}
		decoder := json.NewDecoder(bytes.NewReader(item))
		decoder.DisallowUnknownFields()
		if decoder.Decode(&file) != nil || file.URL == nil || !urlForm.MatchString(*file.URL) {
			return nil, fmt.Errorf("bad item %.60s", item)
		}
		out = append(out, *file.URL)
	}
	return out, nil
}
