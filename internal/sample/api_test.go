package sample

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestContactsOverTheAPI(t *testing.T) {
	a := replica(t, "v1")
	r := answer(a, "POST", "/api/contacts", `{"name":"Zoë Quist","company":"Quist & Co","email":"zoe@example.com"}`)
	var made contact
	if err := json.Unmarshal([]byte(text(t, r)), &made); err != nil {
		t.Fatal(err)
	}
	if want := (contact{ID: 25, Name: "Zoë Quist", Company: "Quist & Co", Email: "zoe@example.com", Stage: "lead"}); r.StatusCode != 201 || made != want {
		t.Errorf("got %d, %+v: want 201, %+v", r.StatusCode, made, want)
	}
	r = answer(a, "GET", "/api/contacts?q=QUIST", "")
	var found []contact
	if err := json.Unmarshal([]byte(text(t, r)), &found); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0] != made {
		t.Errorf("found %+v: want the new contact", found)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q: want no-store", got)
	}
	if page := text(t, answer(a, "GET", "/contacts/25", "")); !strings.Contains(page, "Quist &amp; Co") {
		t.Error("the page of the new contact does not name its company")
	}
	if got := text(t, answer(a, "GET", "/api/contacts?q=nobody", "")); got != "[]\n" {
		t.Errorf("nothing found is %q: want an empty list", got)
	}
}

func TestBadContactsAreRefused(t *testing.T) {
	a := replica(t, "v1")
	for name, c := range map[string]struct {
		body   string
		status int
		says   []string
	}{
		"no JSON":             {`name=Ada`, 400, []string{"invalid character"}},
		"an unknown field":    {`{"name":"Ada","email":"a@b","phone":"1"}`, 400, []string{"phone"}},
		"too large":           {`{"name":"` + strings.Repeat("a", 20<<10) + `"}`, 400, []string{"too large"}},
		"every mistake named": {`{"id":4,"name":" ","company":"` + strings.Repeat("c", 101) + `","email":"ada@","stage":"new"}`, 422, []string{"id:", "name:", "company:", "email:", "stage: want one of lead"}},
	} {
		r := answer(a, "POST", "/api/contacts", c.body)
		body := text(t, r)
		if r.StatusCode != c.status {
			t.Errorf("%s: %d: want %d", name, r.StatusCode, c.status)
		}
		for _, part := range c.says {
			if !strings.Contains(body, part) {
				t.Errorf("%s: %s: does not say %q", name, body, part)
			}
		}
	}
}

func TestTheRegisterIsBounded(t *testing.T) {
	register := newContacts()
	seeded := len(register.search(""))
	var group sync.WaitGroup
	for i := range maxCreated + 10 {
		group.Go(func() { register.add(contact{Name: fmt.Sprint("visitor ", i)}) })
	}
	group.Wait()
	if got := len(register.search("")); got != seeded+maxCreated {
		t.Errorf("%d contacts: want %d", got, seeded+maxCreated)
	}
	if _, kept := register.get(1); !kept {
		t.Error("a contact of the beginning is gone")
	}
	if _, kept := register.get(seeded + 10); kept {
		t.Error("the tenth contact added is still there: want it gone, as the oldest")
	}
	if _, kept := register.get(seeded + 11); !kept {
		t.Error("the eleventh contact added is gone")
	}
}

// signIn is the Cookie header of a visitor who signed in.
func signIn(t *testing.T, a *app, user string) string {
	t.Helper()
	r := answer(a, "POST", "/login", "user="+user, "Content-Type", "application/x-www-form-urlencoded")
	cookies := r.Cookies()
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/account" || len(cookies) != 1 {
		t.Fatalf("login: %d to %q with %d cookies", r.StatusCode, r.Header.Get("Location"), len(cookies))
	}
	if c := cookies[0]; c.Name != "session" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure {
		t.Errorf("cookie %s", c)
	}
	return cookies[0].Name + "=" + cookies[0].Value
}

func TestASessionHoldsAcrossReplicas(t *testing.T) {
	one, two := replica(t, "v1"), replica(t, "v2")
	cookie := signIn(t, one, "ada")
	r := answer(two, "GET", "/account", "", "Cookie", cookie)
	if page := text(t, r); r.StatusCode != 200 || !strings.Contains(page, `<strong id="user">ada</strong>`) {
		t.Errorf("account at another replica: %d", r.StatusCode)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("the account page says Cache-Control %q: want no-store", got)
	}
	if got := text(t, answer(two, "GET", "/api/me", "", "Cookie", cookie)); got != `{"user":"ada"}`+"\n" {
		t.Errorf("me: %s", got)
	}
	if page := text(t, answer(two, "GET", "/contacts", "", "Cookie", cookie)); strings.Contains(page, "ada<") {
		t.Error("a public page names the visitor")
	}
	gone := answer(one, "POST", "/logout", "", "Cookie", cookie).Cookies()
	if len(gone) != 1 || gone[0].MaxAge >= 0 {
		t.Errorf("logout sets %v: want the cookie gone", gone)
	}
}

func TestWithoutASessionThereIsNoAccount(t *testing.T) {
	a := replica(t, "v1")
	other, err := newApp(Config{SessionKey: "another key"}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for name, cookie := range map[string]string{
		"no cookie":              "",
		"a cookie of another":    signIn(t, other, "ada"),
		"a cut cookie":           signIn(t, a, "ada")[:20],
		"a cookie with no parts": "session=ada",
		"an empty cookie":        "session=",
	} {
		if r := answer(a, "GET", "/account", "", "Cookie", cookie); r.StatusCode != 303 || r.Header.Get("Location") != "/login" {
			t.Errorf("%s: account: %d", name, r.StatusCode)
		}
		if r := answer(a, "GET", "/api/me", "", "Cookie", cookie); r.StatusCode != 401 {
			t.Errorf("%s: me: %d: want 401", name, r.StatusCode)
		}
	}
	for name, body := range map[string]string{"no name": "user=+", "a long name": "user=" + strings.Repeat("a", 41)} {
		if r := answer(a, "POST", "/login", body, "Content-Type", "application/x-www-form-urlencoded"); r.StatusCode != 422 {
			t.Errorf("login with %s: %d: want 422", name, r.StatusCode)
		}
	}
	if r := answer(a, "POST", "/login", "user=ada", "Sec-Fetch-Site", "cross-site"); r.StatusCode != 403 {
		t.Errorf("login from another site: %d: want 403", r.StatusCode)
	}
}

func TestASessionEnds(t *testing.T) {
	s := sessions{key: []byte("k")}
	until := time.Unix(1000, 0)
	value := s.issue("ada.lovelace", until)
	if got := s.user(value, until.Add(-time.Second)); got != "ada.lovelace" {
		t.Errorf("before its end: %q", got)
	}
	if got := s.user(value, until); got != "" {
		t.Errorf("at its end: %q: want nobody", got)
	}
}

func FuzzSessionUser(f *testing.F) {
	s := sessions{key: []byte("k")}
	f.Add(s.issue("ada", time.Unix(1<<40, 0)))
	f.Add("..")
	f.Fuzz(func(t *testing.T, value string) {
		if user := s.user(value, time.Unix(0, 0)); user != "" && !strings.HasPrefix(value, base64URL.EncodeToString([]byte(user))+".") {
			t.Errorf("%q made %q", value, user)
		}
	})
}
