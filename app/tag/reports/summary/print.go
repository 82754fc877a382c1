package summary

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

var columns = []string{"requests", "attempts", "fills", "no_fills", "passbacks", "impressions", "viewables", "clicks", "errors", "invalid",
	"fill_rate_percent", "ctr_percent", "viewable_percent", "currency", "revenue_micros", "ecpm_micros"}

// JSON writes the report as one object.
func (r *Report) JSON(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// CSV writes a header and the lines, without totals: whoever reads it adds up what it wants. A line that earned in several
// currencies has one more record for each further one, in which all counts are 0, so that columns can be added up.
func (r *Report) CSV(out io.Writer) error {
	w := csv.NewWriter(out)
	var head []string
	for _, d := range r.By {
		head = append(head, strings.ReplaceAll(string(d), "-", "_"))
	}
	w.Write(append(head, columns...))
	for _, l := range r.Lines {
		for n := range max(1, len(l.Revenue)) {
			rec := append([]string{}, l.Keys...)
			for _, v := range l.numbers() {
				if n > 0 {
					v = 0
				}
				rec = append(rec, strconv.FormatInt(v, 10))
			}
			for _, p := range []*float64{l.FillRate, l.CTR, l.Viewability} {
				rec = append(rec, first(n, rate(p)))
			}
			if n < len(l.Revenue) {
				v := l.Revenue[n]
				rec = append(rec, v.Currency, strconv.FormatInt(v.Micros, 10), strconv.FormatInt(v.ECPMMicros, 10))
			} else {
				rec = append(rec, "", "", "")
			}
			w.Write(rec)
		}
	}
	w.Flush()
	return w.Error()
}

func first(n int, s string) string {
	if n > 0 {
		return ""
	}
	return s
}

func (l *Line) numbers() []int64 {
	return []int64{l.Requests, l.Attempts, l.Fills, l.NoFills, l.Passbacks, l.Impressions, l.Viewables, l.Clicks, l.Errors, l.Invalid}
}

// Table writes the report for people: columns that hold nothing at all are left out, money is in units of its currency.
func (r *Report) Table(out io.Writer) error {
	if len(r.Lines) == 0 {
		_, err := fmt.Fprintln(out, "nothing was counted in this time")
		return err
	}
	names := []string{"REQUESTS", "ATTEMPTS", "FILLS", "NO FILLS", "PASSBACKS", "IMPRESSIONS", "VIEWABLE", "CLICKS", "ERRORS", "INVALID"}
	total := r.Total.numbers()
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	var row []string
	for _, d := range r.By {
		row = append(row, strings.ToUpper(strings.ReplaceAll(string(d), "-", " ")))
	}
	for i, n := range names {
		if total[i] != 0 {
			row = append(row, n)
		}
	}
	row = append(row, "FILL %", "CTR %", "VIEWABLE %", "REVENUE", "ECPM")
	fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	for i, l := range append(r.Lines[:len(r.Lines):len(r.Lines)], r.Total) {
		keys := l.Keys
		if i == len(r.Lines) {
			keys = append([]string{}, keys...)
			keys[0] = "TOTAL"
		}
		for n := range max(1, len(l.Revenue)) {
			row = row[:0]
			for k, key := range keys {
				if key == "" && (i < len(r.Lines) || k > 0) {
					key = "-"
				}
				row = append(row, first(n, key))
			}
			for c, v := range l.numbers() {
				if total[c] != 0 {
					row = append(row, first(n, grouped(v)))
				}
			}
			row = append(row, first(n, rate(l.FillRate)), first(n, rate(l.CTR)), first(n, rate(l.Viewability)))
			if n < len(l.Revenue) {
				v := l.Revenue[n]
				row = append(row, money(v.Micros)+" "+v.Currency, money(v.ECPMMicros)+" "+v.Currency)
			} else {
				row = append(row, "", "")
			}
			fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
		}
	}
	return w.Flush()
}

func rate(p *float64) string {
	if p == nil {
		return ""
	}
	return strconv.FormatFloat(*p, 'f', 2, 64)
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func money(micros int64) string {
	cents := micros / 10_000
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%s.%02d", sign, grouped(cents/100), cents%100)
}
