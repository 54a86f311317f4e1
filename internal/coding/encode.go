package coding

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// ErrNoGain is for a body that would not become as small as it should.
var ErrNoGain = errors.New("encoding saves too little")

// Levels, measured on texts of 12 to 290 KB. An answer is encoded once and
// served many times, so the last percents are worth some milliseconds, but not
// hundreds of them, and not tens of megabytes for tables:
//   - br 6: 25 % of the Go specification's HTML at 20 MB/s, with 6 MB. 7 saves
//     1 % more and takes 12 MB, 11 saves 11 % more at 0.5 MB/s.
//   - zstd "better": 27 % at 95 MB/s, with 6 MB. "Best" saves 6 % more at
//     18 MB/s, and its tables alone take 34 MB.
//   - gzip 9: 27 % at 16 MB/s, with 1 MB. 6 is 5 % larger.
const (
	brotliLevel = 6
	zstdLevel   = zstd.SpeedBetterCompression
	gzipLevel   = gzip.BestCompression
	// windowBits: texts rarely repeat what is further away than 512 KiB, and
	// the default windows of 4 and 8 MiB double the memory for each encoder.
	windowBits = 19
	// maxWindow is the most that decoders on the web have to support: RFC 9659.
	maxWindow = 8 << 20
)

// Encoder encodes bodies, one after another. Its zero value is ready; it keeps
// the tables of the codings for the next body. After a panic it is of no use.
type Encoder struct {
	br   *brotli.Writer
	zstd *zstd.Encoder
	gzip *gzip.Writer
	out  limited
}

// limited collects at most a number of bytes.
type limited struct {
	bytes.Buffer
	limit int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.limit {
		return 0, ErrNoGain
	}
	return l.Buffer.Write(p)
}

// Encode is a body, given in parts, in a coding. It fails with ErrNoGain when
// that takes more than limit bytes. What it returns has been decoded again and
// compared: a fault of a library must not reach a visitor.
func (e *Encoder) Encode(c Coding, parts [][]byte, limit int) ([]byte, error) {
	e.out.Reset()
	e.out.limit = limit
	w, err := e.writer(c)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c, err)
	}
	for _, part := range parts {
		if _, err = w.Write(part); err != nil {
			break
		}
	}
	if closing := w.Close(); err == nil {
		err = closing
	}
	switch {
	case errors.Is(err, ErrNoGain):
		return nil, ErrNoGain
	case err != nil:
		return nil, fmt.Errorf("encode %s: %w", c, err)
	}
	if err := verify(c, e.out.Bytes(), parts); err != nil {
		return nil, fmt.Errorf("verify %s: %w", c, err)
	}
	return append(make([]byte, 0, e.out.Len()), e.out.Bytes()...), nil
}

// writer is the coding's encoder, writing to e.out.
func (e *Encoder) writer(c Coding) (w io.WriteCloser, err error) {
	switch c {
	case Brotli:
		if e.br == nil {
			e.br = brotli.NewWriterOptions(&e.out, brotli.WriterOptions{Quality: brotliLevel, LGWin: windowBits})
		} else {
			e.br.Reset(&e.out)
		}
		return e.br, nil
	case Zstd:
		if e.zstd == nil {
			// One goroutine, the caller's.
			e.zstd, err = zstd.NewWriter(&e.out, zstd.WithEncoderLevel(zstdLevel), zstd.WithEncoderConcurrency(1),
				zstd.WithWindowSize(1<<windowBits), zstd.WithLowerEncoderMem(true))
			return e.zstd, err
		}
		e.zstd.Reset(&e.out)
		return e.zstd, nil
	case Gzip:
		if e.gzip == nil {
			e.gzip, err = gzip.NewWriterLevel(&e.out, gzipLevel)
			return e.gzip, err
		}
		e.gzip.Reset(&e.out)
		return e.gzip, nil
	}
	return nil, errors.New("no coding to encode in")
}

// Decode reads what is in a coding.
func Decode(c Coding, r io.Reader) (io.ReadCloser, error) {
	switch c {
	case Brotli:
		return io.NopCloser(brotli.NewReader(r)), nil
	case Zstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case Gzip:
		return gzip.NewReader(r)
	}
	return io.NopCloser(r), nil
}

// verify reports encoded bytes that do not decode to the parts.
func verify(c Coding, encoded []byte, parts [][]byte) error {
	d, err := Decode(c, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	want := sameAs{parts: parts}
	_, err = io.Copy(&want, d)
	if closing := d.Close(); err == nil {
		err = closing
	}
	if err == nil && !want.ended() {
		err = errDiffers
	}
	return err
}

var errDiffers = errors.New("it decodes to something else")

// sameAs accepts the bytes of the parts and no others.
type sameAs struct {
	parts [][]byte
	used  int // of the first part
}

func (s *sameAs) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if s.ended() {
			return 0, errDiffers
		}
		part := s.parts[0][s.used:]
		n := min(len(rest), len(part))
		if !bytes.Equal(rest[:n], part[:n]) {
			return 0, errDiffers
		}
		rest, s.used = rest[n:], s.used+n
	}
	return len(p), nil
}

// ended reports that nothing is left; it drops parts that are used up.
func (s *sameAs) ended() bool {
	for len(s.parts) > 0 && len(s.parts[0]) == s.used {
		s.parts, s.used = s.parts[1:], 0
	}
	return len(s.parts) == 0
}
