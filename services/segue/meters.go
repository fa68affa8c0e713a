package main

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"segue/services/applier"
	"segue/services/reader"
	"segue/services/reconciler"
)

// meters are the parts that register metrics: they are made once per process, while components may start many times.
type meters struct {
	applier *applier.Metrics

	mu       sync.Mutex
	comparer *reconciler.Reconciler
	follower *reader.Reader
}

func newMeters(r prometheus.Registerer) *meters {
	return &meters{applier: applier.NewMetrics(r)}
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

// reader makes it at the first call.
func (m *meters) reader(make func() *reader.Reader) *reader.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.follower == nil {
		m.follower = make()
	}
	return m.follower
}

// reading is the reader of this process, nil where there is none yet.
func (m *meters) reading() *reader.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.follower
}
