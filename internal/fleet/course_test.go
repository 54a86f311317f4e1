package fleet

import (
	"fmt"
	"testing"
)

func TestACourseTranslatesBetweenPlacesAndGenerations(t *testing.T) {
	var c Course
	if _, _, known := c.Stamp(9); known {
		t.Error("an empty course knows a place")
	}
	// Joined at place 4, generation 10; then two orders, a piece of news, an order.
	for _, s := range []step{{4, 10}, {5, 11}, {6, 15}, {7, 15}, {8, 16}} {
		c.Reach("a", s.position, s.generation)
	}
	for generation, want := range map[uint64]string{9: "no", 10: "a4", 11: "a5", 14: "a5", 15: "a7", 16: "a8", 99: "a8"} {
		incarnation, position, known := c.Stamp(generation)
		got := fmt.Sprint(incarnation, position)
		if !known {
			got = "no"
		}
		if got != want {
			t.Errorf("generation %d is at %s: want %s", generation, got, want)
		}
	}
	for position, want := range map[uint64]string{3: "no", 4: "10", 5: "11", 6: "15", 7: "15", 8: "16", 20: "16"} {
		generation, known := c.Generation("a", position)
		got := fmt.Sprint(generation)
		if !known {
			got = "no"
		}
		if got != want {
			t.Errorf("place %d is generation %s: want %s", position, got, want)
		}
	}
	if _, known := c.Generation("b", 5); known {
		t.Error("a place of another log is known")
	}
	c.Reach("a", 2, 20) // joined again, earlier
	if _, known := c.Generation("a", 1); known {
		t.Error("a place before the first is known")
	}
	if g, _ := c.Generation("a", 4); g != 20 {
		t.Errorf("generation %d: want what was read when it joined again", g)
	}
	c.Reach("b", 0, 21)
	if _, known := c.Generation("a", 4); known {
		t.Error("the log before is known")
	}
	for i := range uint64(3 * maxCourse) {
		c.Reach("b", i, 21+i)
	}
	if len(c.steps) > maxCourse {
		t.Errorf("%d steps", len(c.steps))
	}
	if _, known := c.Generation("b", 1); known {
		t.Error("a place that was forgotten is known")
	}
	if g, known := c.Generation("b", 3*maxCourse-1); !known || g != 20+3*maxCourse {
		t.Errorf("%d, %v", g, known)
	}
}
