package applier

import (
	"context"
	"errors"
	"fmt"

	"segue/pkg/fault"
	"segue/pkg/pgtarget"
	"segue/pkg/service"
)

// persist does it again while it fails for a transient cause, and says so each time.
func (a *Applier) persist(ctx context.Context, what string, do func(ctx context.Context) error) error {
	return a.persistUntil(ctx, ctx, what, do)
}

// persistUntil works under work, but no new attempt begins once run has ended.
func (a *Applier) persistUntil(work, run context.Context, what string, do func(ctx context.Context) error) error {
	waited := false
	for pause := a.cfg.Retry; ; pause = min(2*pause, maxRetry) {
		err := do(work)
		if err == nil && waited {
			a.waits("")
		}
		if err == nil || run.Err() != nil || fault.ClassOf(err) != fault.ClassTransient || errors.Is(err, pgtarget.ErrRewind) {
			return err
		}
		waited = true
		a.waits("for the target to " + what + ": " + err.Error())
		a.deps.Metrics.retries.Inc()
		a.deps.Log.Warn("waiting for the target", "step", what, "error", err.Error(), "again_in", pause.String(), "hint", fault.HintOf(err))
		if service.Sleep(run, pause) != nil {
			return run.Err()
		}
	}
}

// waits tells whoever shows the service's state; "" means that it goes on.
func (a *Applier) waits(why string) {
	if a.deps.Waiting != nil {
		a.deps.Waiting(why)
	}
}

// apply applies a plan, again and again while the target fails for a transient cause. Whether a COMMIT went through whose
// answer was lost is read from the progress row.
func (a *Applier) apply(work, run context.Context, p *pgtarget.Plan) error {
	before, start := a.target.Cursor(), a.deps.Now()
	failed := false
	err := a.persistUntil(work, run, "apply", func(ctx context.Context) error {
		if failed {
			if err := a.target.Recover(ctx); err != nil {
				return transientRewind(err)
			}
			switch at := a.target.Cursor(); at {
			case p.End():
				a.deps.Log.Info("the transaction was committed before the connection was lost", "position", at.At.String())
				return nil
			case before:
			default:
				return fault.Fatal(fmt.Errorf("the target stands at %s, not at %s as left", at.At, before.At),
					"somebody else changed the progress row: start again")
			}
		}
		failed = true
		err := a.target.Apply(ctx, p)
		if err != nil && fault.ClassOf(err) == fault.ClassTransient {
			a.target.LetGo(ctx) // the next attempt may be seconds away
		}
		return err
	})
	if err != nil {
		return a.reshaped(work, err)
	}
	a.observe(p, a.deps.Now().Sub(start))
	return nil
}

// reshaped says so where an error that is final comes from a target table that somebody has altered.
func (a *Applier) reshaped(ctx context.Context, err error) error {
	if fault.ClassOf(err) == fault.ClassTransient || ctx.Err() != nil || errors.Is(err, pgtarget.ErrTakenOver) || errors.Is(err, pgtarget.ErrRewind) {
		return err
	}
	a.target.LetGo(ctx)
	return a.target.Reshaped(ctx, err)
}

// rewinds tells of an end that means reading again, and returns it.
func (a *Applier) rewinds(err error) error {
	if errors.Is(err, pgtarget.ErrRewind) {
		a.deps.Metrics.rewinds.Inc()
		a.deps.Log.Warn("reading again from the target's last commit", "error", err.Error(), "position", a.Cursor().At.String())
	}
	return err
}

// transientRewind makes the loss of what was applied a reason to open the source again.
func transientRewind(err error) error {
	if errors.Is(err, pgtarget.ErrRewind) {
		return fault.Transient(err)
	}
	return err
}
