package sample

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	sessionCookie = "session"
	sessionLife   = 24 * time.Hour
)

// sessions issues and reads session cookies that carry who and until when,
// signed: every replica with the same key knows the visitor, and none keeps
// anything.
type sessions struct {
	key []byte
}

var base64URL = base64.RawURLEncoding

// issue is the cookie value for a user, good until the given time.
func (s sessions) issue(user string, until time.Time) string {
	claim := base64URL.EncodeToString([]byte(user)) + "." + strconv.FormatInt(until.Unix(), 10)
	return claim + "." + base64URL.EncodeToString(s.sign(claim))
}

// user is who a cookie value was issued to; "" if it is not ours or too old.
func (s sessions) user(value string, now time.Time) string {
	cut := strings.LastIndexByte(value, '.')
	if cut < 0 {
		return ""
	}
	claim := value[:cut]
	signature, err := base64URL.DecodeString(value[cut+1:])
	if err != nil || !hmac.Equal(signature, s.sign(claim)) {
		return ""
	}
	name, until, _ := strings.Cut(claim, ".")
	seconds, err := strconv.ParseInt(until, 10, 64)
	if err != nil || !now.Before(time.Unix(seconds, 0)) {
		return ""
	}
	user, err := base64URL.DecodeString(name)
	if err != nil {
		return ""
	}
	return string(user)
}

func (s sessions) sign(claim string) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(claim))
	return mac.Sum(nil)
}

// visitor is who sent the request; "" for someone who is not signed in.
func (a *app) visitor(r *http.Request) string {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return a.sessions.user(cookie.Value, time.Now())
}

func (a *app) loginForm(w http.ResponseWriter, r *http.Request) {
	a.private(w, r, "login", page{Title: "Sign in"})
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	user := strings.TrimSpace(r.PostFormValue("user"))
	if n := utf8.RuneCountInString(user); n < 1 || n > 40 {
		http.Error(w, "user: want a name of 1 to 40 characters", http.StatusUnprocessableEntity)
		return
	}
	value := a.sessions.issue(user, time.Now().Add(sessionLife))
	http.SetCookie(w, cookie(r, value, int(sessionLife/time.Second)))
	seeOther(w, r, "/account")
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, cookie(r, "", -1))
	seeOther(w, r, "/")
}

func (a *app) account(w http.ResponseWriter, r *http.Request) {
	user := a.visitor(r)
	if user == "" {
		seeOther(w, r, "/login")
		return
	}
	a.private(w, r, "account", page{Title: "Account", Content: user})
}

func (a *app) apiMe(w http.ResponseWriter, r *http.Request) {
	user := a.visitor(r)
	if user == "" {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "not signed in"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"user": user})
}

// private answers with a page for one visitor: no cache may keep it.
func (a *app) private(w http.ResponseWriter, r *http.Request, name string, p page) {
	w.Header().Set("Cache-Control", "no-store")
	a.public(w, r, name, p)
}

func seeOther(w http.ResponseWriter, r *http.Request, path string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, path, http.StatusSeeOther)
}

func cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}
