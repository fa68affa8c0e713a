package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Probe measures what a user would feel: it commits a change on the legacy side and looks at the target until it is
// there. The time runs from the commit's return to the first query that sees the value.
type Probe struct {
	mu  sync.Mutex
	lag []time.Duration
}

const (
	probeSKU    = "SKU-PROBE"
	probeInsert = "INSERT INTO public.products VALUES ($1, 'probe', 1, 0, NULL, NULL) ON CONFLICT (sku) DO NOTHING"
	probeWrite  = "UPDATE public.products SET weight_g = $2 WHERE sku = $1"
	probeRead   = "SELECT weight_g FROM sales.product WHERE sku = $1"
)

// Run probes every interval until the context ends.
func (p *Probe) Run(ctx context.Context, legacy, target *pgx.Conn, interval time.Duration) error {
	if _, err := legacy.Exec(ctx, probeInsert, probeSKU); err != nil {
		return fmt.Errorf("place the probe: %w", err)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := int32(1); ; n++ {
		if err := p.once(ctx, legacy, target, n); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("probe: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Probe) once(ctx context.Context, legacy, target *pgx.Conn, n int32) error {
	if _, err := legacy.Exec(ctx, probeWrite, probeSKU, n); err != nil {
		return err
	}
	start := time.Now()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		var seen int32
		err := target.QueryRow(ctx, probeRead, probeSKU).Scan(&seen)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if err == nil && seen >= n {
			p.mu.Lock()
			p.lag = append(p.lag, time.Since(start))
			p.mu.Unlock()
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lag is a summary of what was measured.
type Lag struct {
	Samples       int
	P50, P99, Max time.Duration
}

// Since summarises the samples from the given one on, and says how many there are now.
func (p *Probe) Since(from int) (Lag, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	some := slices.Clone(p.lag[min(from, len(p.lag)):])
	slices.Sort(some)
	lag := Lag{Samples: len(some)}
	if n := len(some); n > 0 {
		lag.P50, lag.P99, lag.Max = some[n/2], some[n*99/100], some[n-1]
	}
	return lag, len(p.lag)
}
