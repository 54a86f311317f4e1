package fleet

import (
	_ "embed"
	"strings"

	"github.com/redis/rueidis"
)

// The scripts are in one file, each after a line "-- script NAME"; what is
// before the first one begins each of them.
//
//go:embed scripts.lua
var scriptText string

var scripts = readScripts(scriptText)

func readScripts(text string) map[string]*rueidis.Lua {
	parts := strings.Split(text, "\n-- script ")
	found := make(map[string]*rueidis.Lua)
	for _, part := range parts[1:] {
		name, body, _ := strings.Cut(part, "\n")
		found[name] = rueidis.NewLuaScript(parts[0] + "\n" + body)
	}
	return found
}
