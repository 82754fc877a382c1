package inventory

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // images without a zone database must know the zones, too

	"patag/app/tag/catalogue"
)

// DayPart is hours of a week in a zone.
type DayPart struct {
	hours [3]uint64 // a bit per hour of the local week, from Sunday 00:00 on
	zone  *zone
}

const hour, week = 3600, 7 * 24 * 3600

// epochDay is the Unix epoch's day of the week.
const epochDay = int64(time.Thursday)

// Holds says whether a time in Unix seconds is within. The hours are those that clocks on the wall show: an hour that the change to
// summer time skips never holds, one that is repeated in autumn holds twice.
func (d *DayPart) Holds(now int64) bool {
	local := (now + d.zone.offset(now) + epochDay*24*hour) % week
	if local < 0 {
		local += week
	}
	h := local / hour
	return d.hours[h/64]&(1<<(h%64)) != 0
}

// zone is the offsets of a time zone from UTC around the time of compiling, so that a decision searches a few numbers.
type zone struct {
	from    []int64 // Unix seconds from which the offset of the same index holds
	offsets []int64 // seconds east of UTC
}

// Years around the time of compiling that a zone knows; the first and last offset hold beyond them.
const yearsBack, yearsAhead = 2, 6

func newZone(name string, now time.Time) (*zone, error) {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	z := &zone{}
	end := now.AddDate(yearsAhead, 0, 0)
	for t := now.AddDate(-yearsBack, 0, 0).In(loc); t.Before(end); {
		_, offset := t.Zone()
		z.from, z.offsets = append(z.from, t.Unix()), append(z.offsets, int64(offset))
		_, next := t.ZoneBounds()
		if next.IsZero() {
			break
		}
		t = next
	}
	return z, nil
}

func (z *zone) offset(now int64) int64 {
	i := sort.Search(len(z.from), func(i int) bool { return z.from[i] > now })
	return z.offsets[max(0, i-1)]
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (b *builder) dayPart(doc *catalogue.DayPart) (DayPart, error) {
	z := b.zones[doc.Zone]
	if z == nil {
		var err error
		if z, err = newZone(doc.Zone, b.s.Built); err != nil {
			return DayPart{}, err
		}
		b.zones[doc.Zone] = z
	}
	days := doc.Days
	if len(days) == 0 {
		days = dayNames
	}
	d := DayPart{zone: z}
	to := doc.To
	if to <= doc.From {
		to += 24 // into the next day
	}
	for _, name := range days {
		day := slices.Index(dayNames, strings.ToLower(name))
		if day < 0 {
			return DayPart{}, fmt.Errorf("%q is no day of the week", name)
		}
		for h := doc.From; h < to; h++ {
			at := (day*24 + h) % (7 * 24)
			d.hours[at/64] |= 1 << (at % 64)
		}
	}
	return d, nil
}
