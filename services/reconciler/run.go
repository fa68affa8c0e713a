package reconciler

import (
	"context"
	"log/slog"
	"time"
)

// Run measures offsets, and compares every now and then where that is configured, until the context ends. It outlives the parts
// that it measures: what it cannot reach it reports and tries again.
func (r *Reconciler) Run(ctx context.Context) error {
	w := &watch{r: r}
	defer w.close()
	look := time.NewTicker(r.cfg.Offsets)
	defer look.Stop()
	reachable := true
	var compare <-chan time.Time
	var timer *time.Timer
	if r.cfg.Every > 0 {
		timer = time.NewTimer(r.cfg.Every)
		defer timer.Stop()
		compare = timer.C
	}
	done := make(chan struct{}, 1)
	running := false
	for {
		reachable = r.measure(ctx, w, reachable)
		select {
		case <-ctx.Done():
			if running {
				<-done
			}
			return nil
		case <-look.C:
		case <-compare:
			running = true
			go func() {
				r.compareAndTell(ctx)
				done <- struct{}{}
			}()
		case <-done:
			running = false
			timer.Reset(r.cfg.Every)
		}
	}
}

// measure looks once and says whether all could be reached; it logs only when that changes.
func (r *Reconciler) measure(ctx context.Context, w *watch, was bool) bool {
	looking, cancel := context.WithTimeout(ctx, r.cfg.Offsets+closeWait)
	defer cancel()
	o, err := w.look(looking)
	if ctx.Err() != nil {
		return was
	}
	if err != nil {
		if was {
			r.deps.Log.Warn("offsets cannot be measured", "error", err)
		}
		return false
	}
	if !was {
		r.deps.Log.Info("offsets are measured again")
	}
	r.metrics.offsets(o)
	return true
}

// compareAndTell logs what came out: tables and numbers, never keys.
func (r *Reconciler) compareAndTell(ctx context.Context) {
	report, err := r.Compare(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.deps.Log.Error("comparison failed", "error", err)
		return
	}
	for _, t := range report.Tables {
		level := slog.LevelInfo
		if t.Verdict != "pass" {
			level = slog.LevelWarn
		}
		r.deps.Log.Log(ctx, level, "compared", "table", t.Table, "verdict", string(t.Verdict), "reason", t.Reason, "rows", t.Rows,
			"coverage", t.Coverage, "missing", t.Missing, "extra", t.Extra, "different", t.Different, "doubled", t.Doubled, "from", t.From, "to", t.To)
	}
	r.deps.Log.Info("comparison ended", "verdict", string(report.Verdict), "seconds", report.Seconds, "rounds", report.Rounds, "lost", report.Lost)
}
