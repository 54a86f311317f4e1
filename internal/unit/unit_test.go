package unit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	cases := map[string]struct {
		want time.Duration
		bad  bool
	}{
		"10s":           {want: 10 * time.Second},
		"1h30m":         {want: 90 * time.Minute},
		"1d":            {want: 24 * time.Hour},
		"7d12h":         {want: 180 * time.Hour},
		"0":             {want: 0},
		"10 min":        {bad: true},
		"-1s":           {bad: true},
		"":              {bad: true},
		"d":             {bad: true},
		"NaNd":          {bad: true},
		"1d-1h":         {bad: true},
		"999999d":       {bad: true},
		"36499d24h":     {want: 36500 * 24 * time.Hour},
		"36500d1ns":     {bad: true},
		"0001111152h":   {bad: true},
		"2562047h47m":   {bad: true},
		"36500.000001d": {bad: true},
	}
	for text, c := range cases {
		got, err := ParseDuration(text)
		if (err != nil) != c.bad || got.D() != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v: want %v, bad %v", text, got.D(), err, c.want, c.bad)
		}
		if c.bad && !strings.Contains(err.Error(), "want a duration such as") {
			t.Errorf("ParseDuration(%q): error %q does not say what would be right", text, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	cases := map[string]struct {
		want int64
		bad  bool
	}{
		"512MiB": {want: 512 << 20}, "2GB": {want: 2e9}, "64k": {want: 64 << 10}, "10": {want: 10},
		"1.5KiB": {want: 1536}, "-1": {bad: true}, "lots": {bad: true}, "": {bad: true}, "9999999TiB": {bad: true},
	}
	for text, c := range cases {
		got, err := ParseBytes(text)
		if (err != nil) != c.bad || int64(got) != c.want {
			t.Errorf("ParseBytes(%q) = %d, %v: want %d, bad %v", text, got, err, c.want, c.bad)
		}
	}
}

func TestParseRatio(t *testing.T) {
	cases := map[string]struct {
		want Ratio
		bad  bool
	}{
		"20%": {want: 0.2}, "0.5": {want: 0.5}, "0": {}, "101%": {bad: true}, "-0.1": {bad: true}, "half": {bad: true},
	}
	for text, c := range cases {
		got, err := ParseRatio(text)
		if (err != nil) != c.bad || (!c.bad && got != c.want) {
			t.Errorf("ParseRatio(%q) = %v, %v: want %v, bad %v", text, got, err, c.want, c.bad)
		}
	}
}

// All three stand in JSON as what the operator would write, and come back.
func TestJSONRoundTrip(t *testing.T) {
	type config struct {
		D Duration `json:"d"`
		B Bytes    `json:"b"`
		R Ratio    `json:"r"`
	}
	in := config{D: Duration(26 * time.Hour), B: 3 << 20, R: 0.25}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"d":"26h","b":"3MiB","r":0.25}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	var out config
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("came back as %+v, %v: want %+v", out, err, in)
	}
	if err := json.Unmarshal([]byte(`{"d":1000000000,"b":10,"r":"5%"}`), &out); err != nil || out.D.D() != time.Second || out.B != 10 || out.R != 0.05 {
		t.Errorf("numbers came back as %+v, %v", out, err)
	}
	for _, bad := range []string{`{"d":"soon"}`, `{"d":-1}`, `{"d":4000147200000000000}`, `{"d":true}`, `{"b":"much"}`, `{"r":2}`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestZeroMeansDefault(t *testing.T) {
	if Duration(0).Or(time.Second) != time.Second || Duration(2).Or(time.Second) != 2 {
		t.Error("Duration.Or")
	}
	if Bytes(0).Or(7) != 7 || Bytes(3).Or(7) != 3 {
		t.Error("Bytes.Or")
	}
	if Ratio(0).Or(0.5) != 0.5 || Ratio(0.1).Or(0.5) != 0.1 {
		t.Error("Ratio.Or")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"10s", "7d12h", "512MiB", "20%", "1e400d", "0001111152h", "-0", "0x1p4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil {
			back, err := ParseDuration(d.String())
			if d < 0 || err != nil || back != d {
				t.Errorf("duration %q reads as %d, writes %q, reads as %d, %v", text, d, d, back, err)
			}
		}
		if b, err := ParseBytes(text); err == nil {
			back, err := ParseBytes(b.String())
			if b < 0 || err != nil || (back != b && b < 1<<53) {
				t.Errorf("size %q reads as %d, writes %q, reads as %d, %v", text, b, b, back, err)
			}
		}
		if r, err := ParseRatio(text); err == nil && !(r >= 0 && r <= 1) {
			t.Errorf("ratio %q reads as %v", text, r)
		}
	})
}
