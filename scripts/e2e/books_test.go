package e2e

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// books holds what must not get lost: the catalogue, and each acknowledged impression, once.
type books struct {
	m                    *machine
	catalogue            string
	acknowledged, unsure int
}

func (b *books) add(c tally) {
	b.acknowledged += len(c.acknowledged)
	b.unsure += c.unsure
}

// check waits until the report has each acknowledged impression, fails when it has more or never gets there, and
// compares the catalogue with what it was at first. More may come later than the check: the next one sees it.
func (b *books) check(t *testing.T) { b.checkLoss(t, 0) }

// checkLoss allows for impressions that were acknowledged by a server whose disk is gone with its node.
func (b *books) checkLoss(t *testing.T, allowed int) (lost int) {
	t.Helper()
	last, same := -1, 0
	took := waitFor(t, 90*time.Second, fmt.Sprintf("%d impressions in the report (and %d that were not acknowledged)", b.acknowledged, b.unsure), func() (string, bool) {
		sum, err := b.impressions()
		if err != nil {
			return err.Error(), false
		}
		if sum > b.acknowledged+b.unsure {
			t.Fatalf("%d impressions are in the report, and only %d were acknowledged: some count twice", sum, b.acknowledged)
		}
		if sum == last {
			same++
		} else {
			last, same = sum, 0
		}
		// A sum with a loss is final when several rounds of shipping have not changed it.
		return fmt.Sprint(sum), sum >= b.acknowledged || sum >= b.acknowledged-allowed && same >= 12
	})
	lost = max(0, b.acknowledged-last)
	t.Logf("all but %d of %d acknowledged impressions are in the report, none twice (after %s)", lost, b.acknowledged, tenths(took))
	b.acknowledged -= lost
	catalogue, err := b.m.kubectl("exec", "deploy/tag", "-c", "tag", "--", "/tag", "catalogue", "export", "-")
	switch {
	case err != nil:
		t.Error(err)
	case b.catalogue == "":
		b.catalogue = catalogue
	case b.catalogue != catalogue:
		t.Errorf("the catalogue was\n%s\nand is\n%s", b.catalogue, catalogue)
	}
	return lost
}

func (b *books) impressions() (int, error) {
	out, err := b.m.kubectl("exec", "deploy/tag", "-c", "tag", "--", "/tag", "report", "--csv=-")
	if err != nil {
		return 0, err
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) == 0 {
		return 0, fmt.Errorf("not a report: %s %w", out, err)
	}
	column := slices.Index(rows[0], "impressions")
	if column < 0 {
		return 0, fmt.Errorf("no column of impressions: %s", out)
	}
	sum := 0
	for _, row := range rows[1:] {
		n, err := strconv.Atoi(row[column])
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
