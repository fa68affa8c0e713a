package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/pgdigest"
	"segue/pkg/reconcile"
	"segue/pkg/service"
	"segue/pkg/table"
)

// Marks puts high watermarks into the source's log.
type Marks interface {
	Emit(ctx context.Context, id string) error
}

// Snapshot is a snapshot of the target that somebody exported at a mark.
type Snapshot struct {
	ID string
	At change.Position
}

// Snapshots waits for the snapshot that the applier exports at a mark, and tells it when it was imported.
type Snapshots interface {
	Await(ctx context.Context, mark string) (Snapshot, error)
	Release(ctx context.Context, mark string) error
}

// Standing is what the target's bookkeeping says in a snapshot.
type Standing struct {
	At      change.Position
	Loaded  bool
	Pending map[table.Name]int64 // by source table
	Reading map[table.Name]bool  // source tables of which rows are still being read: a load, or a resync
	Parked  map[table.Name]int64 // by source table; nil: none
}

// Bookkeeping reads the standing in a transaction on the target.
type Bookkeeping interface {
	Standing(ctx context.Context, tx pgx.Tx) (Standing, error)
}

// Comparer runs one comparison. It is for one goroutine.
type Comparer struct {
	cfg       Config
	units     []*unit
	marks     Marks
	snapshots Snapshots
	books     Bookkeeping
	follower  *follower
	prepared  bool
	control   control

	sources, targets, converts   []*pgx.Conn // one per worker
	sourceDialect, targetDialect pgdigest.Dialect
	x0                           uint64
	life                         string // of this comparer, in its marks' ids
	rounds, lost                 int
	next                         int // where the choice of units goes on

}

// assignment is what one unit does in a round.
type assignment struct {
	unit           *unit
	task           reconcile.Task
	source, target *reconcile.Side
	err            error // why it tells nothing
}

// errLost says that a round as a whole told nothing.
var errLost = errors.New("the round is lost")

// run plays rounds until every unit is done or the context ends.
func (c *Comparer) run(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	for pause := firstPause; ctx.Err() == nil; {
		round := c.choose()
		if len(round) == 0 {
			return nil
		}
		err := c.round(ctx, round)
		if err == nil {
			pause = firstPause
			continue
		}
		if ctx.Err() != nil {
			break
		}
		c.lost++
		for _, a := range round {
			a.unit.state.Postpone(err.Error())
		}
		if c.follower.failed() != nil || c.broken() || fault.ClassOf(err) != fault.ClassTransient {
			return err
		}
		if service.Sleep(ctx, pause) != nil {
			break
		}
		pause = min(2*pause, longestPause)
	}
	return fault.Transient(errors.New("the time is over"))
}

// begin learns what does not change: the servers' dialects, and x0.
func (c *Comparer) begin(ctx context.Context) (err error) {
	if c.sourceDialect, err = pgdigest.Inspect(ctx, c.sources[0]); err != nil {
		return err
	}
	if c.targetDialect, err = pgdigest.Inspect(ctx, c.targets[0]); err != nil {
		return err
	}
	// The stream is followed from a frontier that was there before: see package reconcile.
	if c.x0, err = pgdigest.Transaction(ctx, c.sources[0]); err != nil {
		return err
	}
	return nil
}

// measure plans where a unit's rows are.
func (c *Comparer) measure(ctx context.Context, u *unit) (err error) {
	for _, f := range u.feeders {
		if f.heaps, err = pgdigest.Heaps(ctx, c.sources[0], f.source); err != nil {
			return err
		}
	}
	u.heaps, err = pgdigest.Heaps(ctx, c.targets[0], u.shape.Table)
	return err
}

// choose gives tasks to units until the memory of a round is used up: first to those that have begun, then to others, each time
// going on where the last round ended. Of segments only so many are read at once as there are workers, to keep the round short.
func (c *Comparer) choose() []*assignment {
	var round []*assignment
	used, segments := 0, 0
	for _, begun := range []bool{true, false} {
		for i := range c.units {
			u := c.units[(c.next+i)%len(c.units)]
			if u.failed != "" || u.state.Done() || u.state.Begun() != begun {
				continue
			}
			task, cost := u.state.Next()
			scan := u.span != nil && task.Mode != reconcile.Keys
			if len(round) > 0 && used+cost > c.cfg.Memory || scan && segments >= c.cfg.Workers {
				continue
			}
			if scan {
				segments++
			}
			used += cost
			round = append(round, &assignment{unit: u, task: task, source: reconcile.NewSide(task), target: reconcile.NewSide(task)})
		}
	}
	if len(round) > 0 {
		c.next = round[len(round)-1].unit.index + 1
	}
	return round
}

// round plays one round: see package reconcile.
func (c *Comparer) round(ctx context.Context, round []*assignment) error {
	floor, err := c.floor(ctx)
	if err != nil {
		return err
	}
	c.follower.prune(floor)
	for _, a := range round {
		if err := c.measure(ctx, a.unit); err != nil {
			return err
		}
	}
	if err := c.readSources(ctx, round); err != nil {
		return err
	}
	c.rounds++
	mark := fmt.Sprintf("%s-%d", c.life, c.rounds)
	if err := c.marks.Emit(ctx, mark); err != nil {
		return err
	}
	at, standing, err := c.atMark(ctx, mark, round)
	if err != nil {
		return err
	}
	// The view must hold everything up to the mark, which await has seen pass, less what the floor sees.
	c.follower.prune(floor)
	standing.Reading = c.follower.beingRead(mark)
	told := true
	for _, a := range round {
		if reason := blocked(a, standing); reason != "" {
			a.unit.state.Postpone(reason)
			told = false
			continue
		}
		a.unit.state.Absorb(a.task, a.source, a.target, c.follower.view(a.unit), at)
		if a.unit.state.Done() {
			a.unit.finished = time.Now()
		}
	}
	if !told {
		_ = service.Sleep(ctx, blockedPause) // an ended context ends the run
	}
	return nil
}

// blockedPause is the pause behind a round in which some table could not be told about.
const blockedPause = 200 * time.Millisecond

// blocked says why a unit's answers prove nothing at this mark.
func blocked(a *assignment, s Standing) string {
	if a.err != nil {
		if fault.ClassOf(a.err) != fault.ClassTransient {
			a.unit.failed = a.err.Error()
		}
		return a.err.Error()
	}
	if !s.Loaded {
		return "the initial load is not complete"
	}
	for _, f := range a.unit.feeders {
		if s.Reading[f.source.Name] {
			return fmt.Sprintf("%s is being read: a load or a resync is not over", f.source.Name)
		}
		if n := s.Pending[f.source.Name]; n > 0 {
			return fmt.Sprintf("%d rows of %s are pending", n, f.source.Name)
		}
		if n := s.Parked[f.source.Name]; n > 0 {
			// They stay so until somebody does something about them: this run can say nothing of the table.
			a.unit.failed = fmt.Sprintf("%d rows of %s are parked: segue.parked on the target says which, and why", n, f.source.Name)
			return a.unit.failed
		}
	}
	return ""
}

// floorPoll is the pause between two looks at the source's snapshot.
const floorPoll = 100 * time.Millisecond

// floor takes a snapshot of the source that sees everything that was there before the stream was followed.
func (c *Comparer) floor(ctx context.Context) (chunk.Snapshot, error) {
	for {
		s, err := pgdigest.Snapshot(ctx, c.sources[0])
		if err != nil || s.Passed(c.x0) {
			return s, err
		}
		const waiting = "a transaction on the source that began before this comparison has not ended"
		for _, u := range c.units {
			u.state.Postpone(waiting)
		}
		if err := service.Sleep(ctx, floorPoll); err != nil {
			return s, err
		}
	}
}
