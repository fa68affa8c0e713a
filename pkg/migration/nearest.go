package migration

import "strings"

// Nearest returns the name among those that looks most like the given one, empty where none comes close.
func Nearest(name string, among []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, a := range among {
		if d := editDistance(strings.ToLower(name), strings.ToLower(a)); d < distance {
			best, distance = a, d
		}
	}
	return best
}

// DidYouMean is the end of a message: a suggestion, or nothing.
func DidYouMean(name string, among []string) string {
	if n := Nearest(name, among); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// editDistance counts inserted, deleted, replaced and swapped bytes.
func editDistance(a, b string) int {
	two, one, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(one[j]+1, now[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], two[j-2]+1)
			}
		}
		two, one, now = one, now, two
	}
	return one[len(b)]
}
