package named

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func registry() *Registry[string] {
	var r Registry[string]
	r.Register("b", func(s Spec) (string, error) { return strings.Join(s.Args, "+"), nil }, Spec{Args: []string{"1"}})
	r.Register("a", func(Spec) (string, error) { return "", errors.New("bad words") }, Spec{})
	return &r
}

func TestRegistry(t *testing.T) {
	r := registry()
	if got := r.Names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("names %v: want a, b, sorted", got)
	}
	if got, err := r.New(Spec{Name: "b", Args: []string{"x", "y"}}); got != "x+y" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := r.New(Spec{Name: "a"}); err == nil || err.Error() != "bad words" {
		t.Errorf("the constructor's error came back as %v", err)
	}
	_, err := r.New(Spec{Name: "c"})
	if err == nil || err.Error() != `unknown name "c": want one of a, b` {
		t.Errorf("unknown name: %v", err)
	}
	if got := r.Example("b"); got.String() != "b 1" {
		t.Errorf("example %q", got)
	}
}

func TestRegisteringTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	registry().Register("a", nil, Spec{})
}

func TestWantNamesEveryMistake(t *testing.T) {
	s := Spec{Name: "dns", Args: []string{"a", "b"}, Options: map[string][]string{"resolver": nil, "speed": nil}}
	errs := s.Want(1, 1, "NAME:PORT", "resolver")
	if len(errs) != 2 {
		t.Fatalf("got %v: want two mistakes", errs)
	}
	if got := errs[0].Error(); got != "dns a b: got 2 arguments: want NAME:PORT" {
		t.Errorf("got %q", got)
	}
	if got := errs[1].Error(); got != `dns a b: unknown word "speed": want one of resolver` {
		t.Errorf("got %q", got)
	}
	if errs := (Spec{Name: "x"}).Want(0, 0, "nothing"); errs != nil {
		t.Errorf("a right spec gave %v", errs)
	}
}
