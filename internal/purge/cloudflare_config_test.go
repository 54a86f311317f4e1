package purge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

func TestCloudflareConfigNamesEveryMistake(t *testing.T) {
	good := CloudflareConfig{ZoneIDs: []string{zoneOne}, APIToken: "token-0123456789"}
	cases := map[string]struct {
		change func(*CloudflareConfig)
		want   []string // parts of the errors; none: valid
	}{
		"defaults are valid":         {func(*CloudflareConfig) {}, nil},
		"a stand-in on another host": {func(c *CloudflareConfig) { c.APIURL = "http://standin:9999/client/v4/" }, nil},
		"two zones with domains":     {func(c *CloudflareConfig) { c.ZoneIDs = []string{"example.com=" + zoneOne, "b.org=" + zoneTwo} }, nil},
		"nothing at all":             {func(c *CloudflareConfig) { *c = CloudflareConfig{} }, []string{"zone_id", "api_token"}},
		"everything wrong":           {func(c *CloudflareConfig) { *c = CloudflareConfig{[]string{"x"}, "a b", "gold", "ftp://h", ""} }, []string{`zone_id "x"`, "api_token", `plan "gold": want one of business, enterprise, free, pro`, `api_url "ftp://h"`}},
		"two zones without domains":  {func(c *CloudflareConfig) { c.ZoneIDs = []string{zoneOne, zoneTwo} }, []string{zoneOne + `": want DOMAIN=ID`, zoneTwo + `": want DOMAIN=ID`}},
		"environments of zones": {func(c *CloudflareConfig) {
			c.ZoneIDs = []string{"a.com=" + zoneOne + "/" + zoneTwo, "b.com=" + zoneOne}
		}, nil},
		"an environment twice": {func(c *CloudflareConfig) {
			c.ZoneIDs = []string{"a.com=" + zoneOne + "/" + zoneTwo, "b.com=" + zoneOne + "/" + zoneTwo}
		}, []string{"each zone once"}},
		"environments that are none": {func(c *CloudflareConfig) {
			c.ZoneIDs = []string{"a.com=" + zoneOne + "/", "b.com=" + zoneOne + "/staging", "c.com=" + zoneTwo + "/" + zoneOne + "/.."}
		}, []string{zoneOne + `/": want 32`, `staging": want 32`, `/..": want 32`}},
		"a zone twice":                    {func(c *CloudflareConfig) { c.ZoneIDs = []string{"a.com=" + zoneOne, "b.com=" + zoneOne} }, []string{"each zone once"}},
		"a domain that is none":           {func(c *CloudflareConfig) { c.ZoneIDs = []string{"https://a.com=" + zoneOne} }, []string{"or DOMAIN=ID"}},
		"the real API in the clear":       {func(c *CloudflareConfig) { c.APIURL = "http://api.cloudflare.com/client/v4" }, []string{"want https"}},
		"a password in the address":       {func(c *CloudflareConfig) { c.APIURL = "https://u:p@h/" }, []string{"without user"}},
		"a placeholder that was not set":  {func(c *CloudflareConfig) { c.APIToken = "" }, []string{"environment variable"}},
		"a zone that would leave the API": {func(c *CloudflareConfig) { c.ZoneIDs = []string{"../../user/tokens/" + zoneOne[:14]} }, []string{"32 hexadecimal"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			config := good
			c.change(&config)
			err := config.Validate()
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v: want %v", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestCloudflareConfigHidesTheToken(t *testing.T) {
	c := CloudflareConfig{ZoneIDs: []string{"bad"}, APIToken: "very secret token"}
	shown := []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v", c, c), c.Validate().Error()}
	if text := strings.Join(shown, " "); strings.Contains(text, "secret") {
		t.Error("shows the token:", text)
	}
}

// Every CDN that registers itself is held to this.
func TestPurgersContract(t *testing.T) {
	for _, name := range Purgers.Names() {
		t.Run(name, func(t *testing.T) {
			example := Purgers.Example(name)
			target, err := Purgers.New(example)
			if err != nil || target.Name() == "" {
				t.Fatalf("its own example: %v", err)
			}
			if _, err := Purgers.New(named.Spec{Name: name}); err == nil {
				t.Error("built without any word")
			}
			strange := named.Spec{Name: name, Args: []string{"surplus"}, Options: map[string][]string{"no_such_word": {"x"}}}
			_, err = Purgers.New(strange)
			if err == nil || !strings.Contains(err.Error(), "no_such_word") || !strings.Contains(err.Error(), "arguments") {
				t.Errorf("error %v: want it to name the unknown word and the surplus argument", err)
			}
		})
	}
}

func TestCloudflareSpecTakesEachWordOnce(t *testing.T) {
	spec := Purgers.Example("cloudflare")
	spec.Options = map[string][]string{"zone_id": {zoneOne}, "api_token": {"a", "b"}, "plan": {"pro", "free"}}
	_, err := Purgers.New(spec)
	if err == nil || !strings.Contains(err.Error(), "api_token: got 2 values") || !strings.Contains(err.Error(), "plan: got 2 values") {
		t.Errorf("error %v", err)
	}
}

func TestCloudflareJudges(t *testing.T) {
	cases := map[string]struct {
		status int
		body   string
		kind   Kind
		code   int
	}{
		"accepted":                           {200, `{"success":true,"errors":[],"result":{"id":"x"}}`, "", 0},
		"success under an error status":      {500, `{"success":true}`, Unreachable, 0},
		"success is missing":                 {200, `{"errors":[]}`, Unreachable, 0},
		"success is text":                    {200, `{"success":"true"}`, Unreachable, 0},
		"the limit is not the first error":   {400, `{"success":false,"errors":[{"code":1001,"message":"a"},{"code":1134,"message":"b"}]}`, RateLimited, 1134},
		"the limit under 403":                {403, `{"success":false,"errors":[{"code":1134}]}`, RateLimited, 1134},
		"everything mixed":                   {400, `{"success":false,"errors":[{"code":1092,"message":"m"}]}`, Refused, 1092},
		"an environment without URL purging": {400, `{"success":false,"errors":[{"code":1136,"message":"m"}]}`, Refused, 1136},
		"a known code under 200":             {200, `{"success":false,"errors":[{"code":1107,"message":"m"}]}`, Refused, 1107},
		"permission under 200":               {200, `{"success":false,"errors":[{"code":10000,"message":"m"}]}`, NotAllowed, 10000},
		"401 without a body":                 {401, ``, NotAllowed, 0},
		"403 as a page":                      {403, `<html>`, NotAllowed, 0},
		"404 as a page":                      {404, `<html>`, Refused, 0},
		"408":                                {408, `{"success":false}`, Unreachable, 0},
		"429 without a body":                 {429, ``, RateLimited, 0},
		"520 as a page":                      {520, `<html>`, Unreachable, 0},
		"errors are null":                    {400, `{"success":false,"errors":null}`, Refused, 0},
		"an error is null":                   {400, `{"success":false,"errors":[null]}`, Refused, 0},
		"an error is a number":               {400, `{"success":false,"errors":[7]}`, Refused, 0},
		"no content":                         {204, ``, Unreachable, 0},
		"a redirect":                         {302, ``, Refused, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := newCaller("", "t", nil).judge(answer{c.status, http.Header{}, []byte(c.body)})
			switch {
			case got == nil && c.kind != "":
				t.Errorf("accepted: want %s", c.kind)
			case got != nil && (got.Kind != c.kind || got.Code != c.code || got.HTTP != c.status):
				t.Errorf("%+v: want %q, code %d", got, c.kind, c.code)
			}
		})
	}
}

func TestCloudflareMessagesAreFitForATerminal(t *testing.T) {
	c := newCaller("", "s3cr3t", nil)
	got := c.clean("bad token s3cr3t\x1b[31m\n" + strings.Repeat("ä", 400))
	if strings.Contains(got, "s3cr3t") || strings.ContainsAny(got, "\x1b\n") || len(got) > maxMessage+len("…") {
		t.Errorf("%q", got)
	}
}
