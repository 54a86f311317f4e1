package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// seededContacts is how many contacts every replica has from the start.
	seededContacts = 24
	// Between two pages a visitor looks at what there is for 200 to 600 ms.
	minLook = 200 * time.Millisecond
	maxLook = 600 * time.Millisecond
)

// visitor opens pages until told to leave. Every fifth visitor signs in.
type visitor struct {
	*browser
	name  string
	known bool // signs in
	in    bool // is signed in
	dice  *rand.Rand
}

func newVisitor(base string, number int, t *tally) *visitor {
	return &visitor{
		browser: newBrowser(base, t),
		name:    fmt.Sprintf("visitor-%d", number),
		known:   number%5 == 4,
		dice:    rand.New(rand.NewPCG(uint64(number), 1)),
	}
}

// stay visits until leave is done; a visit under way is finished, unless ctx
// is done.
func (v *visitor) stay(ctx, leave context.Context) {
	defer v.close()
	for leave.Err() == nil && ctx.Err() == nil {
		v.visit(ctx)
		// A done context ends the loop.
		_ = wait(leave, minLook+time.Duration(v.dice.Int64N(int64(maxLook-minLook))))
	}
}

// visit is one page with what belongs to it.
func (v *visitor) visit(ctx context.Context) {
	if v.dice.IntN(4) == 0 {
		clear(v.seen) // a new visitor has nothing, nor has one who reloads
	}
	v.open(ctx, v.path())
	if v.dice.IntN(5) == 0 {
		v.fetch(ctx, v.get("/api/contacts"), http.StatusOK)
	}
	if v.dice.IntN(20) == 0 {
		v.create(ctx)
	}
	if !v.known {
		return
	}
	if !v.in {
		v.in = v.signIn(ctx, v.name)
	}
	if v.in {
		v.account(ctx, v.name)
	}
	if v.in && v.dice.IntN(10) == 0 {
		_, out := v.fetch(ctx, v.post("/logout", "", ""), http.StatusSeeOther)
		v.in = !out
	}
}

func (v *visitor) path() string {
	switch v.dice.IntN(3) {
	case 0:
		return "/"
	case 1:
		return "/contacts"
	}
	return fmt.Sprintf("/contacts/%d", 1+v.dice.IntN(seededContacts))
}

func (v *visitor) create(ctx context.Context) {
	contact := fmt.Sprintf(`{"name":"Friend of %s","email":"friend@example.com"}`, v.name)
	a, ok := v.fetch(ctx, v.post("/api/contacts", "application/json", contact), http.StatusCreated)
	if ok && !json.Valid(a.body) {
		v.tally.fail("POST /api/contacts: the answer is no JSON")
	}
}
