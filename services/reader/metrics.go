package reader

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/change"
	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// metrics are the service's numbers, by table and kind, never by value.
type metrics struct {
	changes   *prometheus.CounterVec
	bytes     prometheus.Counter
	commit    prometheus.Gauge
	stubs     *prometheus.CounterVec
	rows      *prometheus.CounterVec
	retries   *prometheus.CounterVec
	blocks    *prometheus.GaugeVec
	done      *prometheus.GaugeVec
	retained  prometheus.Gauge
	behind    prometheus.Gauge
	safe      prometheus.Gauge
	catalog   prometheus.Gauge
	waiting   prometheus.Gauge
	resting   *prometheus.GaugeVec
	sessions  prometheus.Gauge
	lag       prometheus.Gauge
	confirmed prometheus.Gauge
	inactive  prometheus.Gauge
	limit     prometheus.Gauge
	over      *prometheus.GaugeVec
	paused    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_reader_" + name, Help: help}, labels))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "segue_reader_" + name, Help: help}, labels))
	}
	return &metrics{
		changes:   counter("changes_total", "Changes written to lanes.", "op"),
		bytes:     counter("bytes_total", "Bytes of keys and values written to lanes.").WithLabelValues(),
		commit:    gauge("commit_time_seconds", "The source's commit time of the newest transaction read.").WithLabelValues(),
		stubs:     counter("stubs_total", "Changes whose row was too large for its topic and travelled as a stub.", "table"),
		rows:      counter("chunk_rows_total", "Rows read by chunks.", "table"),
		retries:   counter("chunk_retries_total", "Chunks that were read again, by reason.", "table", "reason"),
		blocks:    gauge("load_blocks", "Blocks to read for the initial load.", "table"),
		done:      gauge("load_blocks_done", "Blocks of the initial load that are in the lanes.", "table"),
		retained:  gauge("slot_retained_bytes", "Log that the source keeps for the slot.").WithLabelValues(),
		behind:    gauge("slot_unconfirmed_bytes", "Log written since what the slot was confirmed.").WithLabelValues(),
		safe:      gauge("slot_safe_bytes", "Log that may be written before the slot is lost; -1: no limit is set.").WithLabelValues(),
		catalog:   gauge("slot_catalog_xmin_age", "Transactions whose catalog rows the slot keeps vacuum from removing.").WithLabelValues(),
		waiting:   gauge("chunks_wait_for_transactions", "1 while chunks wait for transactions that are older than the stream.").WithLabelValues(),
		resting:   gauge("load_waits", "1 while the load waits for the source to have less to do, by what it has too much of.", "reason"),
		sessions:  gauge("source_active_sessions", "Sessions of others that work on the source; read while a load has a limit for it.").WithLabelValues(),
		lag:       gauge("source_standby_lag_bytes", "How far the source's slowest standby is behind; read while a load has a limit for it.").WithLabelValues(),
		inactive:  gauge("slot_inactive_seconds", "For how long nobody has read the slot.").WithLabelValues(),
		limit:     gauge("slot_retained_limit_bytes", "protect.max_retained_wal of segue.yaml; 0: no limit.").WithLabelValues(),
		over:      gauge("slot_over_threshold", "1 where a threshold of protect in segue.yaml is crossed.", "threshold"),
		paused:    gauge("paused", "1 while the reader stands in front of a schema change.").WithLabelValues(),
		confirmed: gauge("confirmed_lsn", "What the slot was told, as a number.").WithLabelValues(),
	}
}

// register takes the collector that is there already, when a service is made twice in one process.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}

// tally is what the loop has counted since it last told: telling costs more than a change's row does.
type tally struct {
	changes [256]int // by change.Op
	bytes   int
}

func (t *tally) add(op change.Op, size int) {
	t.changes[op]++
	t.bytes += size
}

// take adds what was counted and empties the tally.
func (m *metrics) take(t *tally) {
	for _, op := range []change.Op{change.Insert, change.Update, change.Delete, change.Read, change.Truncate} {
		if n := t.changes[op]; n > 0 {
			m.changes.WithLabelValues(op.String()).Add(float64(n))
			t.changes[op] = 0
		}
	}
	m.bytes.Add(float64(t.bytes))
	t.bytes = 0
}

func (m *metrics) committed(us int64) {
	m.commit.Set(float64(us) / float64(time.Second/time.Microsecond))
}

func (m *metrics) read(t *table.Table, rows int, _ int64) {
	m.rows.WithLabelValues(t.Name.String()).Add(float64(rows))
}

func (m *metrics) again(t *table.Table, reason why) {
	m.retries.WithLabelValues(t.Name.String(), string(reason)).Inc()
}

func (m *metrics) slot(s *pgsource.SlotState) {
	m.retained.Set(float64(s.RetainedBytes))
	m.behind.Set(float64(s.UnconfirmedBytes))
	m.safe.Set(float64(s.SafeWALSize))
	m.catalog.Set(float64(s.CatalogXminAge))
}

// guarded is what the guard saw.
func (m *metrics) guarded(s *pgsource.SlotState, inactive time.Duration, crossed []migration.Crossing) {
	m.slot(s)
	m.inactive.Set(inactive.Seconds())
	for _, key := range migration.Thresholds() {
		m.over.WithLabelValues(key).Set(0)
	}
	for _, c := range crossed {
		m.over.WithLabelValues(c.Key).Set(1)
	}
}

func (m *metrics) load(p map[string]Progress) {
	for name, t := range p {
		m.blocks.WithLabelValues(name).Set(float64(t.Blocks))
		m.done.WithLabelValues(name).Set(float64(t.Done))
	}
}

func (m *metrics) busy(b *postgres.Busy, crowded, behind bool) {
	m.sessions.Set(float64(b.ActiveSessions))
	m.lag.Set(float64(b.StandbyLag))
	for reason, yes := range map[string]bool{tooManySessions: crowded, tooMuchLag: behind} {
		v := 0.0
		if yes {
			v = 1
		}
		m.resting.WithLabelValues(reason).Set(v)
	}
}
