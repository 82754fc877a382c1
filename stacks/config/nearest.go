package config

// Nearest finds the name closest to a misspelt one (edit distance), the first of equals; nothing when more than half of
// the word would have to change.
func Nearest(name string, names []string) string {
	best, distance := "", len(name)/2+1
	for _, candidate := range names {
		if d := editDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// didYouMean asks for the nearest name, or tells where the names are.
func didYouMean(prefix, name string, names []string) string {
	if near := Nearest(name, names); near != "" {
		return "did you mean " + prefix + near + "?"
	}
	return "see docs/configuration.md"
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
