package control

import (
	"strings"
	"testing"
)

func TestCheckToken(t *testing.T) {
	cases := map[string]struct{ token, want string }{
		"generated":                       {rightToken, ""},
		"hex of 16 bytes":                 {"9f86d081884c7d659a2feaa0c55ad015", ""},
		"16 characters":                   {"aB3dE5gH7jK9mN1p", ""},
		"512 characters":                  {strings.Repeat("aB3dE5gH", 64), ""},
		"empty":                           {"", "token is empty"},
		"15 characters":                   {"aB3dE5gH7jK9mN1", "15 characters"},
		"513 characters":                  {strings.Repeat("aB3dE5gH", 64) + "x", "513 characters"},
		"space inside":                    {"aB3dE5gH 7jK9mN1p", "white space"},
		"line end":                        {"aB3dE5gH7jK9mN1p\n", "white space"},
		"not ASCII":                       {"aB3dE5gH7jK9mN1pé", "outside ASCII"},
		"changeme":                        {"please-change-me-now", "looks like a placeholder"},
		"your token":                      {"YOUR_TOKEN_GOES_HERE", "looks like a placeholder"},
		"digits in a row":                 {"01234567890123456", "looks like a placeholder"},
		"one key held down":               {"aaaaaaaaaaaaaaaaaaaa", "looks like a placeholder"},
		"placeholder that found no value": {"{env.EDGE_TOKEN_X}", "placeholder without a value"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckToken(tc.token)
			if tc.want == "" {
				if err != nil {
					t.Errorf("error %v: want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v: want %q in it", err, tc.want)
			}
			if err != nil && tc.token != "" && strings.Contains(err.Error(), tc.token) {
				t.Error("the error shows the token")
			}
		})
	}
}

func TestCheckTokenSaysEverythingAtOnce(t *testing.T) {
	err := CheckToken("change me")
	for _, want := range []string{"9 characters", "white space", "placeholder"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want %q in it", err, want)
		}
	}
}
