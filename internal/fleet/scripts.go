package fleet

import (
	_ "embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The scripts are in one file, each after a line "-- script NAME"; what is
// before the first one begins each of them.
//
//go:embed scripts.lua
var scriptText string

var scripts = readScripts(scriptText)

func readScripts(text string) map[string]*redis.Script {
	parts := strings.Split(text, "\n-- script ")
	found := make(map[string]*redis.Script)
	for _, part := range parts[1:] {
		name, body, _ := strings.Cut(part, "\n")
		found[name] = redis.NewScript(parts[0] + "\n" + body)
	}
	return found
}
