package main

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"segue/services/applier"
	"segue/services/dead"
	"segue/services/reader"
	"segue/services/reconciler"
)

// meters are the parts that register metrics: they are made once per process, while components may start many times.
type meters struct {
	applier *applier.Metrics
	letters *dead.Metrics
	standby *prometheus.GaugeVec

	mu       sync.Mutex
	comparer *reconciler.Reconciler
	follower *reader.Reader
	guard    *reader.Guard
	followed *plan // what the follower was made of
}

func newMeters(r prometheus.Registerer) *meters {
	m := &meters{applier: applier.NewMetrics(r), letters: dead.NewMetrics(r), standby: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "segue_standby", Help: "1 while another process of the service works and this one stands by, 0 while this one works.",
	}, []string{"service"})}
	r.MustRegister(m.standby)
	return m
}

// reconciler makes it at the first call that succeeds.
func (m *meters) reconciler(make func() (*reconciler.Reconciler, error)) (*reconciler.Reconciler, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.comparer == nil {
		r, err := make()
		if err != nil {
			return nil, err
		}
		m.comparer = r
	}
	return m.comparer, nil
}

// reader makes it at the first call, and anew for another plan.
func (m *meters) reader(p *plan, make func() *reader.Reader) *reader.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.follower == nil || m.followed != p {
		m.follower, m.followed = make(), p
	}
	return m.follower
}

// guarding makes the guard at the first call.
func (m *meters) guarding(make func() *reader.Guard) *reader.Guard {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.guard == nil {
		m.guard = make()
	}
	return m.guard
}

// reading is the reader of this process, nil where there is none yet.
func (m *meters) reading() *reader.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.follower
}
