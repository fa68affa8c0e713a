package applier

import (
	"context"
	"time"

	"segue/pkg/change"
	"segue/pkg/pgtarget"
)

// markSnapshot is the kind of mark that asks for an exported snapshot.
const markSnapshot = "snapshot"

// exportTimeout bounds how long the stream waits for a snapshot: its locks may be held by somebody else.
const exportTimeout = 15 * time.Second

// export exports a snapshot at the position that was just committed, and holds it while the stream goes on. Who asked
// for it will ask again where it fails: the stream does not stop for that.
func (a *Applier) export(run context.Context, mark string, at change.Position) {
	select {
	case a.holds <- struct{}{}:
	default:
		a.deps.Log.Warn("no snapshot exported: too many are held", "mark", mark)
		return
	}
	ctx, cancel := context.WithTimeout(run, exportTimeout)
	defer cancel()
	held, err := pgtarget.ExportSnapshot(ctx, a.cfg.Target, mark, at, a.cfg.SnapshotHold)
	if err != nil {
		<-a.holds
		a.deps.Log.Warn("no snapshot exported", "mark", mark, "position", at.String(), "error", err.Error())
		return
	}
	a.deps.Log.Debug("snapshot exported", "mark", mark, "position", at.String())
	a.snapshots.Go(func() {
		defer func() { <-a.holds }()
		if err := held.Hold(run); err != nil && run.Err() == nil {
			a.deps.Log.Warn("snapshot lost", "mark", mark, "error", err.Error())
		}
	})
}
