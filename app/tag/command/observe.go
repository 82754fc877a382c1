package command

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// observe registers what the background parts know about themselves.
func (a *app) observe() {
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, get func() float64) {
		a.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, get))
	}
	counter := func(name, help string, get func() int64) {
		a.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(get()) }))
	}
	gauge("tag_journal_bytes", "Bytes of events on disk that are not in the reports yet.", func() float64 { return float64(a.journal.Size()) })
	gauge("tag_journal_limit_bytes", "How many bytes of events may wait.", func() float64 { return float64(a.c.JournalBytes) })
	gauge("tag_journal_backlog", "Events that wait for the disk.", func() float64 { return float64(a.journal.Backlog()) })
	gauge("tag_catalogue_version", "Version of the catalogue in use; -1 for none.", func() float64 {
		if st := a.server.State(); st != nil {
			return float64(st.Snapshot.Version)
		}
		return -1
	})
	gauge("tag_catalogue_checked_seconds", "Seconds since the store last answered which version is current; -1 before the first time.", func() float64 {
		if at := a.refresh.Stats.Reached.Load(); at > 0 {
			return float64(time.Now().Unix() - at)
		}
		return -1
	})
	counter("tag_catalogue_refused_total", "Catalogues that were refused because a document is wrong.", a.refresh.Stats.Refused.Load)
	counter("tag_catalogue_failures_total", "Polls of the store that failed.", a.refresh.Stats.Failures.Load)
	counter("tag_frequency_lookups_total", "Decisions that asked for frequency caps.", a.freq.Stats.Lookups.Load)
	counter("tag_frequency_local_total", "Of these, answered from this process's own counts because Redis did not answer in time.", a.freq.Stats.LocalLookups.Load)
	counter("tag_frequency_dropped_total", "Impressions that are not in the shared frequency counts.", a.freq.Stats.Dropped.Load)
	counter("tag_live_failures_total", "Flushes of live counters that Redis did not take.", a.live.Failures.Load)
	counter("tag_live_dropped_total", "Live counts that found no room to wait for Redis.", a.live.Dropped.Load)
	counter("tag_pacing_failures_total", "Times that pacing could not learn what other servers delivered.", a.pace.Failures.Load)
	counter("tag_batches_total", "Batches stored in the reports.", a.shipper.Stats.Batches.Load)
	counter("tag_batch_events_total", "Events in them, before duplicates were left out.", a.shipper.Stats.Events.Load)
	counter("tag_batch_duplicates_total", "Events left out because they were counted before.", a.shipper.Stats.Duplicates.Load)
	counter("tag_batch_unclaimed_total", "Events counted without knowing whether another server counted them, because Redis was away for too long.", a.shipper.Stats.Unclaimed.Load)
	counter("tag_batch_misdated_total", "Events whose time cannot be right, counted in the hour of their shipping.", a.shipper.Stats.Misdated.Load)
	counter("tag_batch_failures_total", "Rounds that could not ship.", a.shipper.Stats.Failures.Load)
	if a.compact != nil {
		counter("tag_report_parts_total", "Parts into which this server added reports up.", a.compact.Stats.Parts.Load)
		counter("tag_report_conflicts_total", "Parts that another server was faster with.", a.compact.Stats.Conflicts.Load)
		counter("tag_report_failures_total", "Rounds of adding reports up that failed.", a.compact.Stats.Failures.Load)
	}
	counter("tag_segments_damaged_total", "Journal segments damaged on disk.", a.shipper.Stats.Damaged.Load)
}

// journalFailed tells once a minute that counts wait in memory.
func (a *app) journalFailed(err error) {
	now := time.Now().Unix()
	if last := a.toldAt.Load(); now-last >= 60 && a.toldAt.CompareAndSwap(last, now) {
		a.log.Error("counts cannot be written to the journal; they are kept in memory", "err", err)
	}
}
