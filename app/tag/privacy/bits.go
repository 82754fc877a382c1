package privacy

// bits reads numbers of any width from bytes, the highest bit first. Reading past the end gives zeros and sets short.
type bits struct {
	data  []byte
	at    int
	short bool
}

func (b *bits) left() int { return 8*len(b.data) - b.at }

func (b *bits) uint(n int) int {
	v := 0
	for ; n > 0; n-- {
		v <<= 1
		if i := b.at >> 3; i < len(b.data) {
			v |= int(b.data[i]>>(7-b.at&7)) & 1
		} else {
			b.short = true
		}
		b.at++
	}
	return v
}

func (b *bits) bool() bool { return b.uint(1) == 1 }

// fibonacci reads a number in Fibonacci coding: sums of Fibonacci numbers, ended by two ones. 0 is none, and sets short.
func (b *bits) fibonacci() int {
	v, last := 0, false
	x, y := 1, 2
	for range 24 { // numbers to 75024: more than any section id
		bit := b.bool()
		if bit && last {
			return v
		}
		if bit {
			v += x
		}
		last = bit
		x, y = y, x+y
	}
	b.short = true
	return 0
}

// decode is base64 with the URL's alphabet, without padding, of any number of whole characters: GPP's sections are not made of
// whole bytes. What remains is filled with zeros.
func decode(dst []byte, s string) ([]byte, bool) {
	for len(s) > 0 && s[len(s)-1] == '=' {
		s = s[:len(s)-1]
	}
	acc, n := uint(0), 0
	for i := range len(s) {
		v := sextet(s[i])
		if v < 0 {
			return dst, false
		}
		acc, n = acc<<6|uint(v), n+6
		if n >= 8 {
			n -= 8
			dst = append(dst, byte(acc>>n))
		}
	}
	if n > 0 {
		dst = append(dst, byte(acc<<(8-n)))
	}
	return dst, true
}

func sextet(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '-' || c == '+':
		return 62
	case c == '_' || c == '/':
		return 63
	}
	return -1
}
