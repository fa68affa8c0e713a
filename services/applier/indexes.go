package applier

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/service"
)

// watchIndexes tells people how far the indexes are while they are made again behind the load, until its result is called. That is all that it
// is for: where it cannot look, nothing is said.
func (a *Applier) watchIndexes(run context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(run)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := postgres.Connect(ctx, a.cfg.Target.URL, a.cfg.Target.App)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		told := false
		for a.tellIndexes(ctx, conn, &told) && service.Sleep(ctx, a.cfg.Look) == nil {
		}
		if told {
			a.waits("")
		}
	})
	return func() { cancel(); wg.Wait() }
}

// tellIndexes says whether there is more to tell.
func (a *Applier) tellIndexes(ctx context.Context, conn *pgx.Conn, told *bool) bool {
	p, err := pgtarget.ReadIndexes(ctx, conn, a.cfg.Target.Migration)
	if err != nil || p.Kept == 0 {
		return false
	}
	*told = true
	a.waits("for the target's indexes behind the load: " + p.String())
	a.deps.Log.Info("indexes are made again", "kept", p.Kept, "made", p.Made, "now", p.String())
	return true
}
