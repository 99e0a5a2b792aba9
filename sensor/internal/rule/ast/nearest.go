package ast

import "github.com/shikra-sensor/shikra/sensor/internal/spelling"

// Nearest returns the name that word was most likely meant to be, or "" when none is near: at most a third of its bytes
// changed, added, left out or swapped with their neighbour.
func Nearest(word string, names []string) string {
	if len(word) > 64 {
		return ""
	}
	best, most := "", max(1, len(word)/3)
	for _, n := range names {
		if n == word || len(n) > len(word)+most || len(word) > len(n)+most {
			continue
		}
		if d := spelling.Distance(word, n); d <= most && (best == "" || d < most) {
			best, most = n, d
		}
	}
	return best
}
