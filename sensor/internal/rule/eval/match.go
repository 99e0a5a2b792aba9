package eval

import (
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/glob"
)

// pathMatch reports whether the path components of pattern, which may be globs, are the first of those of path.
func pathMatch(pattern, path string) bool {
	ps, cs := components(pattern), components(path)
	if len(ps) > len(cs) {
		return false
	}
	for i, p := range ps {
		if !glob.Match(p, cs[i], false) {
			return false
		}
	}
	return true
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
