package measure

import (
	"testing"
	"time"
)

const wrkClean = `Running 3s test @ http://127.0.0.1:8080/objects/1024
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.89ms    1.02ms  21.33ms   93.40%
    Req/Sec    84.61k     4.10k   91.20k    70.97%
  Latency Distribution
     50%  635.00us
     75%    0.95ms
     90%    1.38ms
     99%    5.96ms
  262140 requests in 3.10s, 1.23GB read
Requests/sec:  84561.29
Transfer/sec:    406.30MB
`

const wrkErrors = `Running 1m test @ http://127.0.0.1:8080/
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.00s     1.00s    2.00s    50.00%
    Req/Sec     1.00      1.00      2.00     50.00%
  Latency Distribution
     50%    1.00s 
     75%    1.50s 
     90%    1.75s 
     99%    1.02m 
  12 requests in 1.00m, 999.00B read
  Socket errors: connect 1, read 20, write 300, timeout 4000
  Non-2xx or 3xx responses: 7
Requests/sec:      0.20
Transfer/sec:     16.65B
`

func TestParseWrk(t *testing.T) {
	cases := map[string]struct {
		out  string
		want LoadResult
	}{
		"a clean run": {wrkClean, LoadResult{
			Requests: 262140, Elapsed: 3100 * time.Millisecond, Bytes: 1.23 * (1 << 30),
			P50: 635 * time.Microsecond, P99: 5960 * time.Microsecond,
		}},
		"long times, few bytes, errors of every kind add up": {wrkErrors, LoadResult{
			Requests: 12, Elapsed: time.Minute, Bytes: 999,
			P50: time.Second, P99: 61200 * time.Millisecond, Errors: 1 + 20 + 300 + 4000 + 7,
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseWrk(c.out)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestParseWrkRejectsWhatItCannotRead(t *testing.T) {
	cases := map[string]string{
		"nothing":                  "",
		"a refusal":                "unable to connect to 127.0.0.1:1 Connection refused\n",
		"no latency distribution":  "  5 requests in 1.00s, 5.00KB read\n",
		"a size without a unit":    "  50%  1.00ms\n     99%  1.00ms\n  5 requests in 1.00s, 5.00 read\n",
		"a time in unknown units":  "     50%  1.00ms\n     99%  1.00ly\n  5 requests in 1.00s, 5.00KB read\n",
		"more requests than exist": "     50%  1.00ms\n     99%  1.00ms\n  99999999999999999999 requests in 1.00s, 5.00KB read\n",
	}
	for name, out := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseWrk(out); err == nil {
				t.Errorf("got %+v, want an error", got)
			}
		})
	}
}
