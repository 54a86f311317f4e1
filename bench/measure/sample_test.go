package measure

import "testing"

func TestSummarise(t *testing.T) {
	cases := map[string]struct {
		values []float64
		want   Summary
		ok     bool
	}{
		"no sample":                            {nil, Summary{}, false},
		"one sample is all three":              {[]float64{7}, Summary{7, 7, 7}, true},
		"odd: the one in the middle":           {[]float64{9, 1, 5}, Summary{5, 1, 9}, true},
		"even: the mean of the two in between": {[]float64{8, 2, 4, 100}, Summary{6, 2, 100}, true},
		"zero is a value":                      {[]float64{0, 0}, Summary{}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var samples []Sample
			for _, v := range c.values {
				samples = append(samples, Sample{P99: v, P50: -v})
			}
			got, ok := Summarise(samples, P99)
			if got != c.want || ok != c.ok {
				t.Errorf("got %v, %v; want %v, %v", got, ok, c.want, c.ok)
			}
		})
	}
	if got, ok := Summarise([]Sample{{P50: 1}, {P99: 3}}, P99); !ok || got.Median != 3 {
		t.Errorf("got %v, %v: a sample without the metric must not count as zero", got, ok)
	}
}
