package setting

import (
	"strings"
	"testing"
)

func TestWhatIsASecret(t *testing.T) {
	for name, want := range map[string]bool{
		"EDGE_TOKEN": true, "CLOUDFLARE_API_TOKEN": true, "REDIS_PASSWORD": true, "SENTRY_DSN": true, "/run/secrets/edge_backup_key": true,
		"BACKUP_SECRET_KEY": true, "AWS_SECRET_ACCESS_KEY": true, "STRIPE_KEY": true, "SIGNING_KEY": true,
		"AWS_ACCESS_KEY_ID": false, "BACKUP_ACCESS_KEY": false, "CLOUDFLARE_ZONE_ID": false, "DOMAIN": false, "MONKEY": false, "REDIS_URL": false, "TOKEN_FILE": false,
	} {
		if got := Secret(name); got != want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestProblems(t *testing.T) {
	const random = "v7Qd2mXk9LrTz4Wb"
	for _, c := range []struct {
		value  string
		secret bool
		want   []Kind
	}{
		{random, true, nil},
		{"AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S", true, nil},
		{"https://9f2c1d7ab34e58a6@o1.ingest.sentry.io/42", true, nil},
		{"0123456789abcdef0123456789abcdef", false, nil},
		{"redis://redis.internal:6379/0", false, nil},
		{"crm.example.com", false, nil},
		{"app-replace-2.internal:3000", false, nil},
		{"changeme", true, []Kind{Left}},
		{"CHANGE_ME_BEFORE_PRODUCTION", false, []Kind{Left}},
		{"REPLACE_WITH_YOUR_ZONE", false, []Kind{Left}},
		{"REPLACE", false, []Kind{Left}},
		{"<your token>", true, []Kind{Left}},
		{"your-token-goes-here-please", true, []Kind{Left}},
		{"xxxxxxxxxxxxxxxxxxxxxxxx", true, []Kind{Left}},
		{"sk_live_xxxxxxxx", true, []Kind{Left}},
		{"TODO", false, []Kind{Left}},
		{"${EDGE_TOKEN}", true, []Kind{Left}},
		{"{env.EDGE_TOKEN}", true, []Kind{Left}},
		{"password", true, []Kind{Left}},
		{"my-secret-token-of-24chr", true, []Kind{Left}},
		{"example", false, []Kind{Left}},
		{"short", true, []Kind{Weak}},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true, []Kind{Weak}},
		{"ababababababababab", true, []Kind{Weak}},
		{`"` + random + `"`, true, []Kind{Malformed}},
		{"'redis://redis.internal:6379/0'", false, []Kind{Malformed}},
		{"a\x00bcdefghijklmnopqrs", true, []Kind{Malformed}},
	} {
		problems := Problems(c.value, c.secret)
		same := len(problems) == len(c.want)
		for i := range problems {
			same = same && problems[i].Kind == c.want[i]
			if strings.Contains(problems[i].Text, c.value) {
				t.Errorf("%q: %q shows it", c.value, problems[i].Text)
			}
		}
		if !same {
			t.Errorf("%q, secret %t: got %v: want kinds %v", c.value, c.secret, problems, c.want)
		}
	}
}

func TestBits(t *testing.T) {
	for text, want := range map[string]float64{"": 0, "aaaa": 0, "abab": 4, "abcd": 8} {
		if got := Bits(text); got != want {
			t.Errorf("%q: got %v: want %v", text, got, want)
		}
	}
}

func FuzzProblems(f *testing.F) {
	f.Add("changeme", true)
	f.Add("\"x\"", false)
	f.Fuzz(func(t *testing.T, value string, secret bool) {
		for _, p := range Problems(value, secret) {
			if len(value) > 12 && strings.Contains(p.Text, value) {
				t.Errorf("%q shows %q", p.Text, value)
			}
		}
	})
}
