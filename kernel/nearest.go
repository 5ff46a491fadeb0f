package kernel

// Nearest returns the first of names that is fewest edits (insert, delete, replace one byte) away from got, and false
// when none is within limit edits.
func Nearest(got string, names []string, limit int) (best string, ok bool) {
	for _, n := range names {
		if d := distance(got, n); d < limit || d == limit && !ok {
			best, limit, ok = n, d, true
		}
	}
	return best, ok
}

// DidYouMean returns "; did you mean x?" for the nearest of names, or nothing when more than half of got would have to change.
func DidYouMean(got string, names []string) string {
	if best, ok := Nearest(got, names, len(got)/2); ok {
		return "; did you mean " + best + "?"
	}
	return ""
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
