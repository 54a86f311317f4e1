package redisclient

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := map[string]struct{ url, want string }{
		"plain":                        {"redis://redis.internal:6379/2", ""},
		"the port that it has":         {"redis://redis.internal", ""},
		"a slash at its end":           {"redis://redis.internal:6379/", ""},
		"TLS":                          {"rediss://edge@redis.internal:6380", ""},
		"a socket":                     {"unix:///run/redis/redis.sock", ""},
		"a password in it":             {"redis://edge:hunter2@redis.internal:6379", `redis URL "redis://edge:xxxxx@redis.internal:6379": holds a password`},
		"another kind of URL":          {"http://redis.internal", "want redis://HOST:6379/0"},
		"an address alone":             {"redis.internal:6379", "want redis://HOST:6379/0"},
		"no URL at all":                {"redis://%zz:hunter2@x", "not a URL"},
		"a database that is no number": {"redis://redis.internal/zero", "want redis://HOST:6379/0"},
		"a word that it does not know": {"redis://redis.internal?speed=1", "speed is not known: want db, protocol, skip_verify"},
		"a password among the words":   {"redis://redis.internal?password=hunter2", `redis URL "redis://redis.internal": password is not known`},
		"RESP2":                        {"redis://redis.internal?protocol=2", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := Parse(test.url, "s3cret")
			switch {
			case test.want == "" && (err != nil || o.Password != "s3cret" || o.ConnWriteTimeout != Timeout):
				t.Errorf("%+v, %v", o, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cret")):
				t.Errorf("%v: want %s, and no secret", err, test.want)
			}
		})
	}
}
