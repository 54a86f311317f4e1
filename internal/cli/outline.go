package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// maxDepth bounds what is printed of objects within objects.
	maxDepth = 20
	// maxWidth bounds the column of names: one long name must not push all
	// values off the screen.
	maxWidth = 24
)

// outline prints a JSON object for people, one member a line and objects
// within it indented, in the order in which the gateway wrote it: what is new
// there shows here without a change. Members named in leave are left out.
func outline(out *console, text json.RawMessage, depth int, leave ...string) error {
	names, values, err := members(text)
	if err != nil {
		return err
	}
	for _, name := range leave {
		if i := slices.Index(names, name); i >= 0 {
			names, values = slices.Delete(names, i, i+1), slices.Delete(values, i, i+1)
		}
	}
	width := 0
	for _, name := range names {
		width = min(max(width, len(name)), maxWidth)
	}
	for i, name := range names {
		label := indent(depth) + strings.ReplaceAll(name, "_", " ")
		if err := outlineMember(out, label, width+len(indent(depth)), values[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func outlineMember(out *console, label string, width int, value json.RawMessage, depth int) error {
	if depth > maxDepth {
		out.say("%s …", label)
		return nil
	}
	switch value[0] {
	case '{':
		out.say("%s", label)
		return outline(out, value, depth+1)
	case '[':
		var items []json.RawMessage
		if err := json.Unmarshal(value, &items); err != nil {
			return err
		}
		return outlineList(out, label, width, items, depth)
	}
	out.say("%-*s  %s", width, label, scalar(value))
	return nil
}

// outlineList puts plain items on one line, and objects below each other.
func outlineList(out *console, label string, width int, items []json.RawMessage, depth int) error {
	var plain []string
	for _, item := range items {
		if item[0] == '{' || item[0] == '[' {
			plain = nil
			break
		}
		plain = append(plain, scalar(item))
	}
	if len(items) == 0 || plain != nil {
		out.say("%-*s  %s", width, label, or(strings.Join(plain, ", "), "none"))
		return nil
	}
	out.say("%s", label)
	for i, item := range items {
		if err := outlineMember(out, fmt.Sprintf("%s%d", indent(depth+1), i+1), 0, item, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// scalar is a string without its quotes, or the JSON as it stands.
func scalar(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && value[0] == '"' {
		return or(text, `""`)
	}
	if string(value) == "null" {
		return "none"
	}
	return string(value)
}

// members gives an object's names and values in their order, which a map
// would lose.
func members(text json.RawMessage) (names []string, values []json.RawMessage, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	open, err := decoder.Token()
	if err != nil {
		return nil, nil, err
	}
	if open != json.Delim('{') {
		return nil, nil, errors.New("not an object")
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, nil, err
		}
		names, values = append(names, name.(string)), append(values, value)
	}
	if _, err := decoder.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	return names, values, nil
}

func indent(depth int) string { return strings.Repeat("  ", depth) }
