package reconciler

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgsource"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
)

// Offsets says how far each part is, at one time.
type Offsets struct {
	Time                    time.Time
	SourceLSN, ConfirmedLSN uint64
	Stages                  []StageOffset // those that have written; fused stages write none
	Applied                 change.Position
	AppliedAt               time.Time // by the target's clock; zero: nothing yet
	LagBytes                int64     // of the source's log, from what is applied to its end
	Lag                     time.Duration
}

// StageOffset is where one stage's output stands.
type StageOffset struct {
	Stage     string
	Position  change.Position
	Committed time.Time     // of the newest transaction at or before Position, by the source's clock
	Age       time.Duration // since its last frontier was written
}

// watch measures the offsets. It keeps its connections.
type watch struct {
	r              *Reconciler
	source, target *pgx.Conn
	admin          *kafka.Admin
	followers      map[string]*kafka.Follower
}

func (w *watch) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	for _, conn := range []*pgx.Conn{w.source, w.target} {
		if conn != nil {
			_ = conn.Close(ctx) // only reads were under way
		}
	}
	for _, f := range w.followers {
		f.Close()
	}
	if w.admin != nil {
		w.admin.Close()
	}
	w.source, w.target, w.admin, w.followers = nil, nil, nil, nil
}

func (w *watch) open(ctx context.Context) (err error) {
	if w.followers != nil {
		return nil
	}
	spec := w.r.cfg.Spec
	app := spec.Name.ApplicationName("reconciler")
	if w.source, err = postgres.Connect(ctx, string(spec.Source.Postgres), app); err != nil {
		return err
	}
	if w.target, err = postgres.Connect(ctx, string(spec.Target.Postgres), app); err != nil {
		return err
	}
	if w.admin, err = kafka.OpenAdmin(w.r.deps.Kafka); err != nil {
		return err
	}
	w.followers = map[string]*kafka.Follower{}
	return nil
}

// stages are those that write frontier topics; in a fused composition only the first does.
func stages() []string { return []string{"reader", "transformer", "deduplicator"} }

// look measures once. A failure closes what was open, so that the next look starts anew.
func (w *watch) look(ctx context.Context) (o Offsets, err error) {
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err := w.open(ctx); err != nil {
		return o, err
	}
	spec := w.r.cfg.Spec
	identity, err := pgsource.Identify(ctx, w.source)
	if err != nil {
		return o, err
	}
	slot, err := pgsource.Inspect(ctx, w.source, spec.Name.Slot())
	if err != nil {
		return o, err
	}
	o.Time, o.SourceLSN, o.ConfirmedLSN = time.Now(), identity.LSN, slot.ConfirmedLSN
	var seen time.Time // the newest source commit that the reader has seen
	for _, stage := range stages() {
		last, err := w.stage(ctx, spec.Name.FrontierTopic(stage), stage == "reader")
		if err != nil {
			return o, err
		}
		if last == nil {
			continue
		}
		s := StageOffset{Stage: stage, Position: last.At, Committed: time.UnixMicro(last.Committed), Age: o.Time.Sub(time.UnixMicro(last.Written))}
		if o.Stages = append(o.Stages, s); stage == "reader" {
			seen = s.Committed
		}
	}
	progress, err := pgtarget.ReadProgress(ctx, w.target, string(spec.Name))
	if err != nil || progress == nil {
		return o, err
	}
	o.Applied, o.AppliedAt = progress.At, progress.Applied
	o.LagBytes = max(0, int64(o.SourceLSN-o.Applied.LSN))
	if !progress.Committed.IsZero() && seen.After(progress.Committed) {
		o.Lag = seen.Sub(progress.Committed)
	}
	return o, nil
}

// stage returns the last valid frontier of a stage, nil where it has written none: it runs fused, or has not started.
func (w *watch) stage(ctx context.Context, topic string, must bool) (*frontier.Frontier, error) {
	if f := w.followers[topic]; f != nil {
		err := f.Update(ctx)
		return f.Standing().Last, err
	}
	ends, err := w.admin.Ends(ctx, topic)
	if err != nil && must {
		return nil, err
	}
	if err != nil || ends[topic][0] == 0 {
		return nil, nil
	}
	f, err := kafka.Follow(ctx, w.r.deps.Kafka, w.r.deps.Codec, topic)
	if err != nil {
		return nil, err
	}
	w.followers[topic] = f
	return f.Standing().Last, nil
}

// Offsets measures once how far each part is.
func (r *Reconciler) Offsets(ctx context.Context) (Offsets, error) {
	w := &watch{r: r}
	defer w.close()
	return w.look(ctx)
}
