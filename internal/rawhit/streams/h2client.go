package streams

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Client is a connection of HTTP/2 on which a test writes frames as it likes.
// It fails if the server writes more than it may, or what is no frame.
type Client struct {
	net.Conn
	*http2.Framer
	// Streams that have been opened, by their number.
	Streams map[uint32]*Stream
	// Ended is how the connection did: empty while it lasts.
	Ended string

	block  bytes.Buffer
	enc    *hpack.Encoder
	dec    *hpack.Decoder
	window int64 // of the connection
	first  int64 // of a new stream
	pongs  int
}

// Stream is what came back on one.
type Stream struct {
	Header  []hpack.HeaderField
	Trailer []hpack.HeaderField
	Body    []byte
	Ended   bool
	Reset   string

	window int64
}

// newConnection is the window of one (RFC 9113, 6.9.2).
const newConnection = 1<<16 - 1

// NewClient makes a connection. Its settings are acknowledged when it returns.
func NewClient(address string, secure *tls.Config, settings ...http2.Setting) (*Client, error) {
	secure = secure.Clone()
	secure.NextProtos = []string{"h2"}
	nc, err := tls.Dial("tcp", address, secure)
	if err != nil {
		return nil, err
	}
	c := &Client{Conn: nc, Framer: http2.NewFramer(nc, nc), Streams: make(map[uint32]*Stream), window: newConnection, first: newConnection}
	c.Framer.AllowIllegalWrites = true
	c.enc, c.dec = hpack.NewEncoder(&c.block), hpack.NewDecoder(4096, nil)
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		return nil, err
	}
	return c, errors.Join(c.Settle(settings...), c.Sync())
}

// Settle sends settings. What they say of windows counts at once: they are
// acknowledged before the next thing that is sent is answered.
func (c *Client) Settle(settings ...http2.Setting) error {
	for _, s := range settings {
		if s.ID == http2.SettingInitialWindowSize {
			for _, stream := range c.Streams {
				stream.window += int64(s.Val) - c.first
			}
			c.first = int64(s.Val)
		}
	}
	return c.WriteSettings(settings...)
}

// Block is fields, encoded.
func (c *Client) Block(fields ...hpack.HeaderField) []byte {
	c.block.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(f) // to memory
	}
	return bytes.Clone(c.block.Bytes())
}

// Fields are those of a request.
func Fields(method, path string, more ...string) []hpack.HeaderField {
	all := []hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "example.com"}, {Name: ":path", Value: path},
	}
	for _, line := range more {
		name, value, _ := strings.Cut(line, ": ")
		all = append(all, hpack.HeaderField{Name: name, Value: value})
	}
	return all
}

// Open notes a stream.
func (c *Client) Open(id uint32) {
	if c.Streams[id] == nil {
		c.Streams[id] = &Stream{window: c.first}
	}
}

// Get asks for something and waits for the answer.
func (c *Client) Get(id uint32, path string, more ...string) (*Stream, error) {
	c.Open(id)
	p := http2.HeadersFrameParam{StreamID: id, BlockFragment: c.Block(Fields("GET", path, more...)...), EndStream: true, EndHeaders: true}
	if err := c.WriteHeaders(p); err != nil {
		return nil, err
	}
	return c.Streams[id], c.Await(id)
}

// Await reads until a stream, or the connection, has ended.
func (c *Client) Await(id uint32) error {
	for c.Ended == "" && !c.Streams[id].Ended {
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

// Sync waits until the server has taken in what was sent.
func (c *Client) Sync() error {
	want := c.pongs + 1
	if err := c.WritePing(false, [8]byte{}); err != nil {
		return c.broken(err)
	}
	for c.Ended == "" && c.pongs < want {
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

// Drain waits until every stream, or the connection, has ended.
func (c *Client) Drain() error {
	for id := range c.Streams {
		if err := c.Await(id); err != nil {
			return err
		}
	}
	return nil
}

// broken notes the end of the connection; a time-out is an error.
func (c *Client) broken(err error) error {
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return err
	}
	if c.Ended == "" {
		c.Ended = "closed"
	}
	return nil
}

func (c *Client) read() error {
	f, err := c.ReadFrame()
	if err != nil {
		if _, mistake := err.(http2.ConnectionError); mistake {
			return fmt.Errorf("the server's frames: %w", err)
		}
		return c.broken(err)
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.check(c.WriteSettingsAck())
		}
	case *http2.PingFrame:
		if f.IsAck() && f.Data == [8]byte{} { // one of Sync's
			c.pongs++
		}
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			c.Ended = "goaway " + f.ErrCode.String()
		}
	case *http2.RSTStreamFrame:
		if s := c.Streams[f.StreamID]; s != nil && !s.Ended {
			s.Ended, s.Reset = true, f.ErrCode.String()
		}
	case *http2.HeadersFrame:
		return c.header(f)
	case *http2.DataFrame:
		return c.data(f)
	}
	return nil
}

// check is broken for an error that may be nil.
func (c *Client) check(err error) error {
	if err != nil {
		return c.broken(err)
	}
	return nil
}

func (c *Client) header(f *http2.HeadersFrame) error {
	block := bytes.Clone(f.HeaderBlockFragment())
	for ended := f.HeadersEnded(); !ended; {
		next, err := c.ReadFrame()
		if err != nil {
			return err
		}
		more, ok := next.(*http2.ContinuationFrame)
		if !ok {
			return fmt.Errorf("%v within a header", next)
		}
		block, ended = append(block, more.HeaderBlockFragment()...), more.HeadersEnded()
	}
	fields, err := c.dec.DecodeFull(block)
	if err != nil {
		return fmt.Errorf("the server's header %x: %w", block, err)
	}
	s := c.Streams[f.StreamID]
	switch {
	case s == nil || s.Ended:
		return fmt.Errorf("a header on stream %d, which is not open", f.StreamID)
	case s.Header == nil:
		s.Header = fields
	default:
		s.Trailer = fields
	}
	s.Ended = f.StreamEnded()
	return nil
}

func (c *Client) data(f *http2.DataFrame) error {
	s, n := c.Streams[f.StreamID], int64(f.Length)
	if s == nil {
		return fmt.Errorf("data on stream %d, which is not open", f.StreamID)
	}
	c.window -= n
	s.window -= n
	if c.window < 0 || s.window < 0 {
		return fmt.Errorf("%d bytes on stream %d: too many by %d for it, or %d for the connection", n, f.StreamID, -s.window, -c.window)
	}
	if s.Ended && s.Reset == "" {
		return fmt.Errorf("data on stream %d, which had ended", f.StreamID)
	}
	s.Body = append(s.Body, f.Data()...)
	s.Ended = s.Ended || f.StreamEnded()
	if n == 0 {
		return nil
	}
	c.Grant(n)
	err := c.WriteWindowUpdate(0, uint32(n))
	if err == nil && !s.Ended {
		s.window += n
		err = c.WriteWindowUpdate(f.StreamID, uint32(n))
	}
	return c.check(err)
}

// Grant notes what the connection may bring beyond.
func (c *Client) Grant(n int64) { c.window += n }
