package visitor

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// ranges is a set of addresses, as intervals that neither overlap nor touch, in order.
type ranges struct{ first, last []netip.Addr }

func openRanges(file string) (*ranges, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseRanges(f)
}

// parseRanges reads one address or prefix a line, such as 192.0.2.0/24; what follows a # is a comment.
func parseRanges(r io.Reader) (*ranges, error) {
	var all []netip.Prefix
	in := bufio.NewScanner(r)
	for line := 1; in.Scan(); line++ {
		text, _, _ := strings.Cut(in.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("line %d: %q is no address or prefix such as 192.0.2.0/24", line, text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		all = append(all, p.Masked())
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	s := &ranges{}
	for _, p := range all {
		first, last := p.Addr(), lastOf(p)
		if n := len(s.last); n > 0 && first.Compare(s.last[n-1]) <= 0 {
			if last.Compare(s.last[n-1]) > 0 {
				s.last[n-1] = last
			}
			continue
		}
		s.first, s.last = append(s.first, first), append(s.last, last)
	}
	return s, nil
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (s *ranges) contains(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	i, found := slices.BinarySearchFunc(s.first, a, netip.Addr.Compare)
	if !found {
		i--
	}
	return i >= 0 && a.Compare(s.last[i]) <= 0
}
