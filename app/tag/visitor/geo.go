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

// record is what is read of an entry.
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
}

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
	rec.Country.Code, rec.Subdivisions = "", rec.Subdivisions[:0]
	if err := g.db.Lookup(a).Decode(rec); err != nil {
		return 0, 0
	}
	country := inventory.ParseCountry(rec.Country.Code)
	if country == 0 || len(rec.Subdivisions) == 0 {
		return country, 0
	}
	var b [6]byte
	code := rec.Subdivisions[0].Code
	if len(code) > 3 {
		return country, 0
	}
	n := copy(b[:], rec.Country.Code)
	b[n] = '-'
	n += 1 + copy(b[n+1:], code)
	return country, inventory.ParseRegion(string(b[:n]))
}
