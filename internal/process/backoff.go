package process

import "time"

const (
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
)

// Backoff is how long to wait before another start after so many failed ones in
// a row: 250 ms, and twice as long each time, up to 30 s. (Kubernetes begins
// with 10 s and ends with 5 min; a replica that is missing is missed sooner.)
func Backoff(failures int) time.Duration {
	pause := firstPause
	for range failures - 1 {
		if pause *= 2; pause >= longestPause {
			return longestPause
		}
	}
	if failures < 1 {
		return 0
	}
	return pause
}
