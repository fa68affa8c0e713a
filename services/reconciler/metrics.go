package reconciler

import (
	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/reconcile"
)

// metrics are counted in the registry that was passed in. Tables are named, rows and keys never (P10).
type metrics struct {
	verdict, coverage, drift, rows, finished *prometheus.GaugeVec
	lsn, position, age                       *prometheus.GaugeVec
	lagBytes, lagSeconds                     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "segue_" + name, Help: help}, labels)
	}
	m := &metrics{
		verdict:    gauge("reconcile_verdict", "1 for the verdict of the last comparison of a target table.", "table", "verdict"),
		coverage:   gauge("reconcile_coverage_percent", "Rows that the last comparison of a target table covered.", "table"),
		drift:      gauge("reconcile_drift_rows", "Rows of a target table that were proved to differ.", "table", "kind"),
		rows:       gauge("reconcile_compared_rows", "Rows of a target table that the last comparison compared.", "table"),
		finished:   gauge("reconcile_finished_timestamp_seconds", "When the last comparison of a target table ended.", "table"),
		lsn:        gauge("source_lsn_bytes", "Places in the source's log: its end, and what the slot has confirmed.", "place"),
		position:   gauge("position_lsn_bytes", "The commit LSN that a stage's frontier, or the target, stands at.", "stage"),
		age:        gauge("frontier_age_seconds", "Time since a stage wrote its last frontier.", "stage"),
		lagBytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "segue_lag_bytes", Help: "Bytes of the source's log that are not applied yet."}),
		lagSeconds: prometheus.NewGauge(prometheus.GaugeOpts{Name: "segue_lag_seconds", Help: "From the newest source commit that the reader has seen to the newest applied one."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.verdict, m.coverage, m.drift, m.rows, m.finished, m.lsn, m.position, m.age, m.lagBytes, m.lagSeconds} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) compared(r Report) {
	for _, t := range r.Tables {
		for _, v := range []reconcile.Verdict{reconcile.Pass, reconcile.Differ, reconcile.Unknown} {
			is := 0.0
			if v == t.Verdict {
				is = 1
			}
			m.verdict.WithLabelValues(t.Table, string(v)).Set(is)
		}
		m.coverage.WithLabelValues(t.Table).Set(t.Coverage)
		m.rows.WithLabelValues(t.Table).Set(float64(t.Rows))
		for kind, n := range map[reconcile.Kind]int64{
			reconcile.Missing: t.Missing, reconcile.Extra: t.Extra, reconcile.Different: t.Different, reconcile.Doubled: t.Doubled,
		} {
			m.drift.WithLabelValues(t.Table, string(kind)).Set(float64(n))
		}
		m.finished.WithLabelValues(t.Table).Set(float64(r.Started.Unix()) + r.Seconds)
	}
}

func (m *metrics) offsets(o Offsets) {
	m.lsn.WithLabelValues("end").Set(float64(o.SourceLSN))
	m.lsn.WithLabelValues("confirmed").Set(float64(o.ConfirmedLSN))
	for _, s := range o.Stages {
		m.position.WithLabelValues(s.Stage).Set(float64(s.Position.LSN))
		m.age.WithLabelValues(s.Stage).Set(s.Age.Seconds())
	}
	m.position.WithLabelValues("target").Set(float64(o.Applied.LSN))
	m.lagBytes.Set(float64(o.LagBytes))
	m.lagSeconds.Set(o.Lag.Seconds())
}
