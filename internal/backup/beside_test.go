package backup

import (
	"context"
	"testing"
)

func TestTwoAtOneTargetDoNotDisturbEachOther(t *testing.T) {
	target := Target{To: t.TempDir()}
	done := make(chan error)
	for _, lineage := range []string{"aaaaaaaa", "bbbbbbbb"} {
		v := vaultAt(t, target)
		collect := v.Collect
		v.Collect = func(ctx context.Context) (Content, error) {
			c, err := collect(ctx)
			c.Manifest.Lineage = lineage
			return c, err
		}
		go func() {
			for range 10 {
				if _, err := v.Make(t.Context()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	list, err := vaultAt(t, target).List(t.Context())
	if err != nil || len(list) != 6 {
		t.Errorf("%d backups, %v: want three of each", len(list), err)
	}
}

// meeting is a Store at which somebody else comes by once something was written.
type meeting struct {
	Store
	comes func()
}

func (m *meeting) Put(ctx context.Context, name string, data []byte) error {
	err := m.Store.Put(ctx, name, data)
	if comes := m.comes; comes != nil {
		m.comes = nil
		comes()
	}
	return err
}

// Gateways that were restored from one backup, or copied with their state, have its
// lineage, and know when the last one was made: they make the next at one moment.
func TestTwoOfOneStateAtOneMomentDoNotDisturbEachOther(t *testing.T) {
	key := newKey(t) // no two archives are the same then
	for name, target := range targets(t) {
		first, second := vaultAt(t, target), vaultAt(t, target)
		first.Key, second.Key = key, key
		var other Marker
		first.Store = &meeting{first.Store, func() {
			var err error
			if other, err = second.Make(t.Context()); err != nil {
				t.Errorf("%s: the second: %v", name, err)
			}
		}}
		m, err := first.Make(t.Context())
		if err != nil || !m.Created.Equal(other.Created) || m.Lineage != other.Lineage {
			t.Errorf("%s: %v: made %+v beside %+v: want two of one moment", name, err, m, other)
		}
		list, err := first.List(t.Context())
		if err != nil || len(list) != 2 {
			t.Errorf("%s: %v, %v: want both", name, list, err)
		}
		for _, one := range list {
			if _, err := second.Check(t.Context(), one); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
