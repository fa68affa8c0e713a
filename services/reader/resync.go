package reader

import (
	"context"
	"slices"
	"strings"

	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

// resync is a request to read a table again, whole or by a predicate.
//
// A whole table is read through the plan of all tables: the cut that says that the request is handled says at the same time that nothing
// of the table is read yet. So it is begun exactly once, goes on chunk by chunk behind a crash, and is over when the
// table's loads are complete again; that every table was loaded once stays as it is.
//
// Rows by a predicate have a plan of their own, which no frontier tells of. The request is handled when they are read; behind
// a crash before that it begins anew, which repeats reads, and a read is harmless.
type resync struct {
	offset int64
	table  *table.Table
	where  string
	heaps  []chunk.Heap
	plan   *chunk.Plan // of the rows of a predicate
}

// resync takes a request in. The heaps are measured now: what grows or is rewritten until they are read is met by the rules of any chunk.
func (s *session) resync(ctx context.Context, offset int64, t *table.Table, asked *request.Request) error {
	if asked.Where != "" && t.Keyless() {
		s.log.Error("a resync by a predicate of a table without key is left unanswered: its rows cannot be told from those that are there, resync it whole", "request", asked.ID, "table", t.Name.String())
		return s.desk.request(ctx, offset, nil, nil)
	}
	if asked.Where != "" {
		err := s.workers.scanner.Predicate(ctx, t, asked.Where)
		if fault.ClassOf(err) == fault.ClassPoison {
			s.log.Error("a resync whose predicate cannot be read by is left unanswered", "request", asked.ID, "table", t.Name.String(), "error", err.Error())
			return s.desk.request(ctx, offset, nil, nil)
		}
		if err != nil {
			return err
		}
	}
	heaps, err := s.workers.scanner.Heaps(ctx, []*table.Table{t})
	if err != nil {
		return err
	}
	s.log.Info("a table is read again", "request", asked.ID, "table", t.Name.String(), "by_predicate", asked.Where != "")
	r := &resync{offset: offset, table: t, where: asked.Where, heaps: heaps}
	if asked.Where != "" {
		r.plan = chunk.NewPlan(heaps, nil, s.cfg.ChunkBytes)
	}
	s.desk.again(r)
	// Its place is a cut, and an idle log offers none for a while.
	if err := s.poller.emit(ctx); err != nil && fault.ClassOf(err) != fault.ClassTransient {
		return err
	}
	return nil
}

// again enters a resync. A whole table's waits until every request before it is handled, and for the next cut.
func (d *desk) again(r *resync) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.plan == nil {
		d.asked.outstanding = append(d.asked.outstanding, outstanding{offset: r.offset, whole: r})
		return
	}
	d.asked.outstanding = append(d.asked.outstanding, outstanding{offset: r.offset})
	d.parts = append(d.parts, r)
	if r.plan.Complete() { // a partitioned table without partitions
		d.endPart(r)
	}
	d.wake()
}

// place gives the whole tables whose turn it is their place: the cut that is made now tells of it, by these loads and by its handled offset.
func (d *desk) place() []frontier.Load {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []frontier.Load
	for len(d.asked.outstanding) > 0 && d.asked.outstanding[0].whole != nil {
		r := d.asked.outstanding[0].whole
		out = append(out, d.reread(r)...)
		d.asked.outstanding[0].answered, d.asked.outstanding[0].whole = true, nil
		d.asked.settle()
		d.wake()
	}
	return out
}

// reread plans a table anew. Heaps that are not planned, or not there any more, are the poller's to find. What a frontier tells of heaps
// that were gone before this life is told to be over.
func (d *desk) reread(r *resync) []frontier.Load {
	var out []frontier.Load
	for _, planned := range d.plan.Heaps() {
		if planned.Table.Name != r.table.Name {
			continue
		}
		for _, h := range r.heaps {
			if h.Leaf == planned.Leaf {
				out = append(out, d.plan.Restart(h))
			}
		}
	}
	for _, leaf := range d.gone[r.table.Name] {
		out = append(out, frontier.Load{Table: r.table.Name, Leaf: leaf, Complete: true})
	}
	return out
}

// within runs a change of the plan that a job belongs to; nil is the plan of all tables.
func (d *desk) within(r *resync, do func(p *chunk.Plan)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r != nil {
		do(r.plan)
	} else {
		do(d.plan)
	}
	d.wake()
}

// finishPart enters a chunk of a predicate's rows as read. The lock is held.
func (d *desk) finishPart(j *job) {
	j.part.plan.Finish(j.chunk)
	if j.part.plan.Complete() {
		d.endPart(j.part)
	}
	d.wake()
}

// giveUp ends a resync whose predicate fails on a row. Its request is handled: it would fail in every life.
func (d *desk) giveUp(r *resync) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endPart(r)
	d.wake()
}

func (d *desk) endPart(r *resync) {
	d.parts = slices.DeleteFunc(d.parts, func(p *resync) bool { return p == r })
	d.asked.done([]int64{r.offset})
}

// refused says that the server would not read by the predicate, now or later.
func refused(err error) bool {
	if fault.ClassOf(err) == fault.ClassPoison {
		return true
	}
	code := postgres.SQLState(err)
	return strings.HasPrefix(code, "42") || strings.HasPrefix(code, "0A") || strings.HasPrefix(code, "54") || code == "25006"
}

// shell is a table's name as an argument of a command.
func shell(n table.Name) string {
	if s := n.String(); strings.ContainsAny(s, "\"'$`\\ *?!&|;<>()[]{}#~\t\n") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return n.String()
}
