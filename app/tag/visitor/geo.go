package visitor

import (
	"net/netip"
	"sync"

	"github.com/oschwald/maxminddb-golang/v2"

	"patag/app/tag/inventory"
)

// geo is a database in MaxMind's format, memory mapped: GeoLite2-Country, GeoLite2-City, DB-IP's and others with the same fields.
// Its pages are unmapped when the last lookup has let go of it.
type geo struct {
	db      *maxminddb.Reader
	records sync.Pool
}

// record is where a lookup puts what it reads: memory that is used again.
type record struct{ country, region string }

// Where an entry has its codes. Reading only these costs two small strings.
var (
	countryPath = []any{"country", "iso_code"}
	regionPath  = []any{"subdivisions", 0, "iso_code"}
)

func openGeo(file string) (*geo, error) {
	db, err := maxminddb.Open(file)
	if err != nil {
		return nil, err
	}
	return &geo{db: db, records: sync.Pool{New: func() any { return new(record) }}}, nil
}

// lookup is where an address is; zeros where that is unknown, and for an address or an entry that cannot be read.
func (g *geo) lookup(a netip.Addr) (inventory.Country, inventory.Region) {
	rec := g.records.Get().(*record)
	defer g.records.Put(rec)
	*rec = record{}
	entry := g.db.Lookup(a)
	if err := entry.DecodePath(&rec.country, countryPath...); err != nil {
		return 0, 0
	}
	country := inventory.ParseCountry(rec.country)
	if err := entry.DecodePath(&rec.region, regionPath...); err != nil || country == 0 || len(rec.region) > 3 {
		return country, 0
	}
	var b [6]byte
	n := copy(b[:], rec.country)
	b[n] = '-'
	n += 1 + copy(b[n+1:], rec.region)
	return country, inventory.ParseRegion(string(b[:n]))
}
