package streams

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script is what a client of HTTP/2 does, decided by what pick says.
type script struct {
	*Client
	pick func(int) int
	id   uint32 // the last stream that was opened
	said strings.Builder
}

// PlayHTTP2 does what pick, which returns a number below its argument, says, on
// a new connection that has asked for prime before. What was done is told in
// words.
func PlayHTTP2(address string, secure *tls.Config, prime string, pick func(int) int) (c *Client, said string, err error) {
	settings := [][]http2.Setting{nil, {{ID: http2.SettingInitialWindowSize, Val: 1 << 20}}, {{ID: http2.SettingHeaderTableSize, Val: 1 << 16}}}[pick(3)]
	c, err = NewClient(address, secure, settings...)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	s := &script{Client: c, pick: pick, id: 5}
	if pick(4) > 0 {
		s.grant(1 << 20)
	}
	for id := uint32(1); id <= s.id; id += 2 {
		if _, err := c.Get(id, prime); err != nil {
			return nil, "", err
		}
	}
	for range 1 + pick(10) {
		if c.Ended != "" {
			break
		}
		act := acts[pick(len(acts))]
		if pick(3) > 0 {
			act = acts[0] // a request that may have been learned
		}
		if err := s.check(act(s)); err != nil {
			return nil, "", err
		}
		if pick(2) == 0 {
			if err := s.Drain(); err != nil {
				return nil, "", fmt.Errorf("after %s: %w", s.said.String(), err)
			}
		}
	}
	if err := s.Drain(); err != nil {
		return nil, "", fmt.Errorf("after %s: %w", s.said.String(), err)
	}
	if err := s.Sync(); err != nil {
		return nil, "", fmt.Errorf("after %s: %w", s.said.String(), err)
	}
	return c, s.said.String(), nil
}

// say notes what is done.
func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.said, format+"\n", args...) }

// next is the number of a new stream.
func (s *script) next() uint32 {
	s.id += 2 + 2*uint32(s.pick(2))
	s.Open(s.id)
	return s.id
}

// old is the number of a stream that was opened before.
func (s *script) old() uint32 { return s.id - 2*uint32(s.pick(3)) }

func (s *script) grant(n uint32) error {
	s.say("grant %d to the connection", n)
	s.Grant(int64(n))
	return s.WriteWindowUpdate(0, n)
}

// request sends fields as the header of a GET.
func (s *script) request(fields []hpack.HeaderField, change func(*http2.HeadersFrameParam)) error {
	p := http2.HeadersFrameParam{StreamID: s.next(), BlockFragment: s.Block(fields...), EndStream: true, EndHeaders: true}
	if change != nil {
		change(&p)
	}
	s.say("%d: %v, %+v", p.StreamID, fields, p)
	return s.WriteHeaders(p)
}

// paths of answers that may have been learned.
var paths = []string{"/hit/a", "/hit/5000", "/hit/40000"}

func (s *script) hit() []hpack.HeaderField {
	var more []string
	for range s.pick(4) {
		more = append(more, []string{
			"user-agent: one", "user-agent: two", "accept: */*", "accept-encoding: gzip", "cf-ray: 1", "referer: ", "x-real-ip: 1",
			"x-other: 1", "priority: u=1", "priority: ?", "accept-language: a\tb",
		}[s.pick(11)])
	}
	return Fields("GET", paths[s.pick(len(paths))], more...)
}

// acts are what a client may do; after some, the connection is over.
var acts = []func(*script) error{
	func(s *script) error { return s.request(s.hit(), nil) },
	func(s *script) error {
		return s.request(s.hit(), func(p *http2.HeadersFrameParam) { p.PadLength = uint8(s.pick(200)) })
	},
	func(s *script) error {
		return s.request(s.hit(), func(p *http2.HeadersFrameParam) {
			p.Priority = http2.PriorityParam{StreamDep: p.StreamID - uint32(s.pick(2)), Weight: 7}
		})
	},
	(*script).inPieces, (*script).oddFields, (*script).withBody, (*script).withEmptyBody, (*script).pressing,
	func(s *script) error {
		return s.request(append(s.hit(), hpack.HeaderField{Name: "user-agent", Value: strings.Repeat("x", 15000+s.pick(3000))}), nil)
	},
	func(s *script) error {
		return s.request(append(s.hit(), hpack.HeaderField{Name: "cookie", Value: "a=b"}), nil)
	},
	func(s *script) error { return s.request(Fields("HEAD", "/hit/a"), nil) },
	(*script).onOldStream, (*script).onIdleStream, (*script).settings, (*script).grants, (*script).oddBlock, (*script).cutOff,
	func(s *script) error { s.say("ping"); return s.WritePing(false, [8]byte{1}) },
	func(s *script) error { s.say("unknown"); return s.WriteRawFrame(0x77, 3, s.old(), []byte("what")) },
	(*script).anyFrame,
}

// anyFrame sends one that may be of the wrong size, or on the wrong stream.
func (s *script) anyFrame() error {
	kind, flags, size := http2.FrameType(s.pick(10)), http2.Flags(s.pick(256)), s.pick(12)
	if kind == http2.FrameHeaders || kind == http2.FrameGoAway || kind == http2.FrameData {
		return nil
	}
	if err := s.Drain(); err != nil || s.Ended != "" {
		return err
	}
	id := s.old() * uint32(s.pick(2))
	if one := s.Streams[id]; one != nil && one.Header == nil {
		return nil
	}
	s.say("kind %d, flags %x, stream %d, %d bytes", kind, flags, id, size)
	return s.WriteRawFrame(kind, flags, id, make([]byte, size))
}

// inPieces sends a header in several frames.
func (s *script) inPieces() error {
	block := s.Block(s.hit()...)
	id, cut := s.next(), s.pick(8)
	cut = min(cut, len(block))
	s.say("%d: in pieces, cut at %d", id, cut)
	err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:cut], EndStream: true})
	if err == nil && s.pick(8) == 0 {
		s.say("ping in between")
		err = s.WritePing(false, [8]byte{2})
	}
	if err != nil {
		return err
	}
	return s.WriteContinuation(id, true, block[cut:])
}

// oddFields sends fields that may be malformed.
func (s *script) oddFields() error {
	fields := s.hit()
	odd := []hpack.HeaderField{
		{Name: "User-Agent", Value: "x"}, {Name: "user-agent", Value: "a\x01b"}, {Name: "user-agent", Value: "caf\xc3\xa9"},
		{Name: "connection", Value: "keep-alive"}, {Name: "te", Value: "trailers"}, {Name: "te", Value: "gzip"}, {Name: ":path", Value: "/"},
		{Name: "host", Value: "example.com"}, {Name: "content-length", Value: "3"}, {Name: ":other", Value: "x"}, {Name: "", Value: "x"},
		{Name: "user-agent", Value: " x "}, {Name: "transfer-encoding", Value: "chunked"}, {Name: "trailer", Value: "x"}, {Name: "expect", Value: "100-continue"},
	}[s.pick(15)]
	fields = slices.Insert(fields, s.pick(len(fields)+1), odd)
	if s.pick(3) == 0 {
		at := s.pick(len(fields))
		fields = slices.Delete(fields, at, at+1)
	}
	return s.request(fields, nil)
}

// withBody sends a POST.
func (s *script) withBody() error {
	body := bytes.Repeat([]byte("GET /hit/a "), 1+s.pick(900))
	err := s.request(Fields("POST", "/echo"), func(p *http2.HeadersFrameParam) { p.EndStream = false })
	for err == nil && len(body) > 0 {
		n := min(len(body), 1+s.pick(8000))
		err = s.WriteDataPadded(s.id, n == len(body), body[:n], []byte(nil))
		body = body[n:]
	}
	return err
}

// withEmptyBody ends a GET in a second frame: of data, or of trailers. Those
// end the connection if the answer was there before, so it takes a path whose
// answer waits for them.
func (s *script) withEmptyBody() error {
	fields, trailers := s.hit(), s.pick(2) == 0
	if trailers {
		fields = Fields("GET", "/echo")
	}
	if err := s.request(fields, func(p *http2.HeadersFrameParam) { p.EndStream = false }); err != nil {
		return err
	}
	if !trailers {
		return s.WriteData(s.id, true, nil)
	}
	return s.WriteHeaders(http2.HeadersFrameParam{
		StreamID: s.id, BlockFragment: s.Block(hpack.HeaderField{Name: "x-trailer", Value: "1"}), EndStream: true, EndHeaders: true,
	})
}

// pressing sends many requests at once.
func (s *script) pressing() error {
	var all bytes.Buffer
	to := http2.NewFramer(&all, nil)
	for range 1 + s.pick(40) {
		p := http2.HeadersFrameParam{StreamID: s.next(), BlockFragment: s.Block(s.hit()...), EndStream: true, EndHeaders: true}
		s.say("%d: at once", p.StreamID)
		if err := to.WriteHeaders(p); err != nil {
			return err
		}
	}
	_, err := s.Conn.Write(all.Bytes())
	return err
}

// onOldStream sends what belongs to a stream that has been answered. Data is left
// out: a server may answer it with an end of the stream or of the connection. So
// are streams whose header was refused: the standard server forgets them.
func (s *script) onOldStream() error {
	id := s.old()
	if s.Streams[id] == nil {
		return nil
	}
	if err := s.Await(id); err != nil || s.Ended != "" || s.Streams[id].Header == nil {
		return err
	}
	what := s.pick(4)
	s.say("%d: again, %d", id, what)
	switch what {
	case 0:
		return s.WriteWindowUpdate(id, 1+uint32(s.pick(9)))
	case 1:
		return s.WriteRSTStream(id, http2.ErrCodeCancel)
	case 2:
		return s.WritePriority(id, http2.PriorityParam{StreamDep: 0, Weight: 3})
	}
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.Block(s.hit()...), EndStream: true, EndHeaders: true})
}

// onIdleStream sends what belongs to a stream that was not opened.
func (s *script) onIdleStream() error {
	id := s.id + 2
	what := s.pick(4)
	s.say("%d: too early, %d", id, what)
	switch what {
	case 0:
		return s.WriteWindowUpdate(id, 1)
	case 1:
		return s.WriteRSTStream(id, http2.ErrCodeCancel)
	case 2:
		return s.WritePriority(id, http2.PriorityParam{Weight: 3})
	}
	return s.WriteData(id, true, nil)
}

func (s *script) settings() error {
	setting := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: 1 << 20}, {ID: http2.SettingInitialWindowSize, Val: 1000}, {ID: http2.SettingInitialWindowSize, Val: 0},
		{ID: http2.SettingHeaderTableSize, Val: 0}, {ID: http2.SettingHeaderTableSize, Val: 1 << 16}, {ID: http2.SettingMaxFrameSize, Val: 1 << 15},
		{ID: http2.SettingMaxFrameSize, Val: 1}, {ID: http2.SettingEnablePush, Val: 0}, {ID: 0x99, Val: 1}, {ID: http2.SettingMaxHeaderListSize, Val: 10},
	}[s.pick(10)]
	// A stream that is open would see one window or the other.
	if err := s.Drain(); err != nil || s.Ended != "" {
		return err
	}
	s.say("%v", setting)
	if err := s.Settle(setting); err != nil {
		return err
	}
	if setting.ID != http2.SettingInitialWindowSize {
		return nil
	}
	// One that is smaller counts when it is acknowledged. A window of nothing
	// would never be given back.
	if err := s.Sync(); err != nil || s.Ended != "" || setting.Val > 0 {
		return err
	}
	return s.Settle(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5000})
}

func (s *script) grants() error {
	// What is under way decides whether the window gets too large.
	if err := s.Drain(); err != nil || s.Ended != "" {
		return err
	}
	return s.grant([]uint32{0, 1, 100_000, 1 << 30, 1<<31 - 1}[s.pick(5)])
}

// oddBlock sends a block that cannot be decoded, or hardly.
func (s *script) oddBlock() error {
	block := []string{"\x80", "\xff\xff\xff\xff\xff\xff", "\x3f\xff\xff\x03", "\x20", "\x40\x05ab", "\x82\x20", "\xfe", ""}[s.pick(8)]
	id := s.next()
	s.say("%d: block %x", id, block)
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block), EndStream: true, EndHeaders: true})
}

// cutOff sends padding that is longer than the frame, or a priority that is cut.
func (s *script) cutOff() error {
	id := s.next()
	flags := []http2.Flags{http2.FlagHeadersPadded, http2.FlagHeadersPriority, 0}[s.pick(3)] | http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream
	s.say("%d: cut off, flags %x", id, flags)
	return s.WriteRawFrame(http2.FrameHeaders, flags, id*uint32(s.pick(2)), []byte{9})
}

// DifferHTTP2 describes how what came back from two servers differs; empty if
// it does not. clean takes from a field's value what is another each time. When
// a connection ends because of a mistake, answers may be cut off.
func DifferHTTP2(said string, got, want *Client, clean func(hpack.HeaderField) hpack.HeaderField) string {
	if (got.Ended == "") != (want.Ended == "") || got.Ended != want.Ended && got.Ended != "closed" && want.Ended != "closed" {
		return fmt.Sprintf("%.4000s\nended %q: want %q", said, got.Ended, want.Ended)
	}
	tell := func(s *Stream) string {
		var all strings.Builder
		for _, f := range slices.Concat(s.Header, s.Trailer) {
			f = clean(f)
			fmt.Fprintf(&all, "%s: %s\n", f.Name, f.Value)
		}
		fmt.Fprintf(&all, "reset %q, %d and %d fields\n%s", s.Reset, len(s.Header), len(s.Trailer), s.Body)
		return all.String()
	}
	for id, one := range want.Streams {
		other := got.Streams[id]
		if other == nil || want.Ended != "" && (!one.Ended || !other.Ended) {
			continue
		}
		if a, b := tell(other), tell(one); a != b {
			return fmt.Sprintf("%.4000s\non stream %d got\n%.1500s\nwant\n%.1500s", said, id, a, b)
		}
	}
	return ""
}
