package rawhit

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frameHeadSize is the size of a frame's header (RFC 9113, 4.1).
const frameHeadSize = 9

// maxPayload is what every peer takes in a frame (RFC 9113, 6.5.2).
const maxPayload = 16 << 10

type frameHead struct {
	size  int
	kind  http2.FrameType
	flags http2.Flags
	id    uint32
}

func parseFrameHead(b []byte) frameHead {
	return frameHead{
		size: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: http2.FrameType(b[3]), flags: http2.Flags(b[4]),
		id: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

func appendFrameHead(b []byte, h frameHead) []byte {
	b = append(b, byte(h.size>>16), byte(h.size>>8), byte(h.size), byte(h.kind), byte(h.flags))
	return binary.BigEndian.AppendUint32(b, h.id)
}

// appendBlock appends a block of header fields in a frame of HEADERS or
// CONTINUATION, with the bytes of its priority if it has any, and in as many
// more as it takes.
func appendBlock(b []byte, h frameHead, priority, block []byte) []byte {
	ends := h.flags & http2.FlagHeadersEndHeaders
	for {
		n := min(len(block), maxPayload-len(priority))
		h.size = len(priority) + n
		h.flags &^= http2.FlagHeadersEndHeaders
		if n == len(block) {
			h.flags |= ends
		}
		b = append(append(appendFrameHead(b, h), priority...), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		h, priority = frameHead{kind: http2.FrameContinuation, id: h.id}, nil
	}
}

// headersPayload takes a payload of HEADERS apart; false for one that is
// malformed (RFC 9113, 6.2).
func headersPayload(h frameHead, p []byte) (priority, block []byte, ok bool) {
	padding := 0
	if h.flags.Has(http2.FlagHeadersPadded) {
		if len(p) == 0 {
			return nil, nil, false
		}
		padding, p = int(p[0]), p[1:]
	}
	if h.flags.Has(http2.FlagHeadersPriority) {
		if len(p) < 5 {
			return nil, nil, false
		}
		priority, p = p[:5], p[5:]
	}
	if padding > len(p) || h.id == 0 {
		return nil, nil, false
	}
	return priority, p[:len(p)-padding], true
}

// dependsOnItself is a mistake that net/http looks for.
func dependsOnItself(priority []byte, id uint32) bool {
	return len(priority) > 0 && binary.BigEndian.Uint32(priority)&(1<<31-1) == id
}

// appendFieldKey appends what tells a request of HTTP/2 from others: its
// fields but for ignored ones, in their order. It reports false for one that
// might be malformed because of an ignored field.
func (f fields) appendFieldKey(key []byte, list []hpack.HeaderField) ([]byte, bool) {
	skipped := false
	for _, field := range list {
		switch {
		case f[field.Name]:
			if !plainText(field.Value) {
				return key, false
			}
			skipped = true
			continue
		case skipped && strings.HasPrefix(field.Name, ":"):
			return key, false // RFC 9113, 8.3
		}
		key = binary.AppendUvarint(key, uint64(len(field.Name)))
		key = append(key, field.Name...)
		key = binary.AppendUvarint(key, uint64(len(field.Value)))
		key = append(key, field.Value...)
	}
	return key, true
}

// mayRepeat reports fields of a GET. Anything else is looked at when the chain
// has read the request.
func mayRepeat(list []hpack.HeaderField) bool {
	return slices.ContainsFunc(list, func(f hpack.HeaderField) bool { return f.Name == ":method" && f.Value == "GET" })
}

// requestText writes a request's fields as HTTP/1.1 would, for the log.
func requestText(list []hpack.HeaderField) []byte {
	value := func(name string) string {
		for _, field := range list {
			if field.Name == name {
				return field.Value
			}
		}
		return ""
	}
	text := []byte("GET " + value(":path") + " HTTP/2.0\r\nHost: " + value(":authority") + "\r\n")
	for _, field := range list {
		if !strings.HasPrefix(field.Name, ":") {
			text = append(text, field.Name+": "+field.Value+"\r\n"...)
		}
	}
	return append(text, "\r\n"...)
}

// pack writes a header, which stands there as HTTP/1.1 has it, as a block of
// HPACK that neither needs nor changes the table that both sides keep (RFC 7541,
// 6.2.3). The id, at its offset in the text, is written without Huffman's code:
// it gets another value each time.
func pack(text string, idAt int) (block []byte, id int) {
	id = -1
	var out bytes.Buffer
	to := hpack.NewEncoder(&out)
	// Nothing is written but to memory.
	_ = to.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	at := strings.Index(text, "\r\n") + 2
	for text[at:] != "\r\n" {
		line, _, _ := strings.Cut(text[at:], "\r\n")
		name, value, _ := strings.Cut(line, ": ")
		field := hpack.HeaderField{Name: lower(name), Value: value, Sensitive: true}
		if at+len(name)+2 != idAt {
			_ = to.WriteField(field)
			at += len(line) + 2
			continue
		}
		field.Value = "" // written as its length, in one byte
		_ = to.WriteField(field)
		out.Truncate(out.Len() - 1)
		out.WriteByte(requestIDSize)
		id = out.Len()
		out.WriteString(value)
		at += len(line) + 2
	}
	return out.Bytes(), id
}
