package applier

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/pgtarget"
)

// Metrics are the applier's. They outlive a run: make them once per process.
type Metrics struct {
	changes, rowOps, filtered, transactions   prometheus.Counter
	retries, halvings, asked, copied, rewinds prometheus.Counter
	batch, seconds, delay                     prometheus.Histogram
	lag, pending, appliedLSN, appliedFrontier prometheus.Gauge
	parkedChanges                             prometheus.Counter
	parked                                    prometheus.Gauge
	sessions, standbyLag                      prometheus.Gauge
	resting                                   *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "segue_applier_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "segue_applier_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, start float64, count int) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "segue_applier_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(start, 2, count)})
		reg.MustRegister(h)
		return h
	}
	resting := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "segue_applier_resting", Help: "1 while a limit of target.pause_while is passed."}, []string{"reason"})
	reg.MustRegister(resting)
	for _, reason := range []string{tooManySessions, tooMuchLag} {
		resting.WithLabelValues(reason).Set(0)
	}
	return &Metrics{
		sessions:        gauge("target_active_sessions", "Sessions of others that run a statement on the target, where target.pause_while looks."),
		standbyLag:      gauge("target_standby_lag_bytes", "Bytes of log that the target's slowest standby is behind, where target.pause_while looks."),
		resting:         resting,
		changes:         counter("changes_total", "Source changes applied."),
		rowOps:          counter("row_ops_total", "Row operations applied, before folding."),
		parkedChanges:   counter("parked_changes_total", "Source changes set aside: with a fault, or of a row that was parked already."),
		parked:          gauge("parked_rows", "Rows parked now: segue.parked on the target says which and why."),
		filtered:        counter("filtered_total", "Source changes that the mapping gave no row operation."),
		transactions:    counter("transactions_total", "Target transactions committed."),
		retries:         counter("retries_total", "Attempts repeated behind a transient error."),
		rewinds:         counter("rewinds_total", "Times that the source was read again because the target stood before what it had been given."),
		halvings:        counter("halvings_total", "Parts that failed set-wise and were applied in smaller parts."),
		asked:           counter("requested_rows_total", "Rows requested from the source."),
		copied:          counter("copied_rows_total", "Rows written by COPY."),
		batch:           histogram("batch_changes", "Source changes per plan.", 1, 16),
		seconds:         histogram("apply_seconds", "Time to apply a plan.", 0.0005, 16),
		delay:           histogram("delay_seconds", "Time from the source's commit to the target's.", 0.001, 18),
		lag:             gauge("lag_seconds", "Time from the source's commit to the target's, of the newest transaction applied."),
		pending:         gauge("pending_rows", "Rows requested and not arrived yet."),
		appliedLSN:      gauge("applied_lsn", "Commit LSN of the applied position."),
		appliedFrontier: gauge("applied_frontier", "Offset of the applied frontier."),
	}
}

// observe counts an applied plan.
func (a *Applier) observe(p *pgtarget.Plan, took time.Duration) {
	m, now := a.deps.Metrics, a.deps.Now()
	c := p.Counters()
	m.changes.Add(float64(c.Changes))
	m.rowOps.Add(float64(c.RowOps))
	m.filtered.Add(float64(c.Filtered))
	m.parkedChanges.Add(float64(c.Parked))
	if c.Parked > 0 {
		a.deps.Log.Warn("rows set aside", "changes", c.Parked, "parked_now", a.target.Progress().ParkedRows, "position", p.End().At.String(), "look", "segue dead list --groups")
	}
	m.batch.Observe(float64(c.Changes))
	m.seconds.Observe(took.Seconds())
	stats := a.target.Stats()
	m.transactions.Add(float64(stats.Transactions - a.counted.Transactions))
	m.halvings.Add(float64(stats.Halvings - a.counted.Halvings))
	m.asked.Add(float64(stats.Asked - a.counted.Asked))
	m.copied.Add(float64(stats.Copied - a.counted.Copied))
	if stats.Halvings > a.counted.Halvings {
		a.deps.Log.Debug("applied in smaller parts", "parts", stats.Halvings-a.counted.Halvings, "position", p.End().At.String())
	}
	a.counted = stats
	last := p.Frontier()
	if last.Boundary && last.Committed > 0 {
		lag := max(now.Sub(time.UnixMicro(last.Committed)).Seconds(), 0)
		m.lag.Set(lag)
		if c.Changes > 0 {
			m.delay.Observe(lag)
		}
	}
	a.publish()
}

// publish shows where the target stands.
func (a *Applier) publish() {
	p := a.target.Progress()
	a.progress.Store(&p)
	m := a.deps.Metrics
	m.pending.Set(float64(p.Pending))
	m.parked.Set(float64(p.ParkedRows))
	m.appliedLSN.Set(float64(p.At.LSN))
	m.appliedFrontier.Set(float64(p.Offset))
}
