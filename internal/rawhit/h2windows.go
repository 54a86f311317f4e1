package rawhit

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// takeSettings notes settings that go on to the server.
func (in *incoming) takeSettings(h frameHead, payload []byte) {
	if h.flags.Has(http2.FlagSettingsAck) {
		return
	}
	in.settings++
	for ; len(payload) >= 6; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch http2.SettingID(binary.BigEndian.Uint16(payload)) {
		case http2.SettingHeaderTableSize:
			in.small = in.small || value < tableSize
		case http2.SettingInitialWindowSize:
			in.window = int64(value)
		case http2.SettingMaxHeaderListSize:
			in.small = in.small || value < maxLearned
		}
	}
}

// grant shares out what the client grants to the connection.
func (c *h2conn) grant(whole []byte, n int64) {
	in := &c.in
	in.granted += n
	now := firstWindow + in.granted - in.sent - c.out.sent.Load()
	if now > maxWindow { // RFC 9113, 6.9.1: a mistake, which the server sees in two that are as large
		whole = append(whole[:frameHeadSize:frameHeadSize], "\x7f\xff\xff\xff"...)
		in.server.Write(whole)
		in.server.Write(whole)
		return
	}
	in.largest = max(in.largest, now)
	kept := min(n, max(0, (in.largest-firstWindow)/2-in.reserve))
	in.reserve += kept
	if n > 0 && kept == n {
		return
	}
	in.server.Write(whole[:frameHeadSize])
	in.server.Write(binary.BigEndian.AppendUint32(nil, uint32(n-kept)))
}
