package reconciler

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/pgdigest"
	"segue/pkg/reconcile"
	"segue/pkg/service"
)

// job is one piece of reading: a task of a unit, at one place of one side.
type job struct {
	unit   *unit
	feeder *feeder // nil: the target
	heaps  []pgdigest.Heap
	place  pgdigest.Place
}

// blockSize is PostgreSQL's page; servers built with another one only get chunks of another size.
const blockSize = 8192

// sourceJobs lists what a unit's task reads of the source.
func (c *Comparer) sourceJobs(a *assignment) ([]job, error) {
	var jobs []job
	for _, f := range a.unit.feeders {
		if a.task.Mode == reconcile.Keys && f.keyed {
			keys, err := sourceKeysOf(a.task.Wanted, f)
			if err != nil {
				return nil, err
			}
			if len(keys) > 0 {
				jobs = append(jobs, job{a.unit, f, f.heaps, pgdigest.ByKey(f.source, f.source.Key, keys)})
			}
			continue
		}
		if s := a.unit.span; s != nil {
			jobs = append(jobs, job{a.unit, f, f.heaps, pgdigest.Within(f.source, f.key[0], s.low, s.high)})
			continue
		}
		size := c.cfg.ChunkBytes
		if !f.pure {
			size /= 8
		}
		for _, h := range f.heaps {
			for _, place := range c.places(h, size) {
				jobs = append(jobs, job{a.unit, f, []pgdigest.Heap{h}, place})
			}
		}
	}
	return jobs, nil
}

// targetJobs is the same for the target, whose pieces are all read in one snapshot.
func (c *Comparer) targetJobs(a *assignment) ([]job, error) {
	if a.task.Mode == reconcile.Keys && !a.unit.shape.Lots { // a hash is no key: such a table is read again, by its buckets
		keys, err := targetKeysOf(a.task.Wanted)
		if err != nil {
			return nil, err
		}
		by := make([]int, len(a.unit.shape.Key))
		for i, k := range a.unit.shape.Key {
			by[i] = a.unit.shape.Columns[k]
		}
		return []job{{a.unit, nil, a.unit.heaps, pgdigest.ByKey(a.unit.shape.Table, by, keys)}}, nil
	}
	if s := a.unit.span; s != nil {
		shape := a.unit.shape
		return []job{{a.unit, nil, a.unit.heaps, pgdigest.Within(shape.Table, shape.Columns[shape.Key[0]], s.low, s.high)}}, nil
	}
	var jobs []job
	for _, h := range a.unit.heaps {
		for _, place := range c.places(h, c.cfg.ChunkBytes) {
			jobs = append(jobs, job{a.unit, nil, []pgdigest.Heap{h}, place})
		}
	}
	return jobs, nil
}

// fewBlocks is a piece that is not worth being shared among workers.
const fewBlocks = 256

// places cuts a heap in pieces of at most that size, one per worker where there would be fewer; the last one is open, for what grew
// since.
func (c *Comparer) places(h pgdigest.Heap, size int64) []pgdigest.Place {
	share := (h.Blocks + uint32(c.cfg.Workers) - 1) / uint32(c.cfg.Workers)
	step := max(min(uint32(size/blockSize), max(share, fewBlocks)), 1)
	var out []pgdigest.Place
	for first := uint32(0); ; first += step {
		if h.Blocks <= step || first >= h.Blocks-step {
			return append(out, pgdigest.Blocks(h.Name, first, 0))
		}
		out = append(out, pgdigest.Blocks(h.Name, first, first+step))
	}
}

// sourceKeysOf are the source rows of a feeder that the wanted keys came from.
func sourceKeysOf(wanted map[string]reconcile.Key, f *feeder) ([][]*string, error) {
	seen := map[string]bool{}
	var out [][]*string
	for _, key := range wanted {
		for _, s := range key.Sources {
			if s.Feeder != f.index || seen[s.Text] {
				continue
			}
			seen[s.Text] = true
			values, err := pointers(s.Text)
			if err != nil {
				return nil, err
			}
			out = append(out, values)
		}
	}
	return out, nil
}

func targetKeysOf(wanted map[string]reconcile.Key) ([][]*string, error) {
	out := make([][]*string, 0, len(wanted))
	for text := range wanted {
		values, err := pointers(text)
		if err != nil {
			return nil, err
		}
		out = append(out, values)
	}
	return out, nil
}

func pointers(canonical string) ([]*string, error) {
	row, err := reconcile.ParseCanonical(canonical)
	if err != nil {
		return nil, err
	}
	out := make([]*string, len(row))
	for i, v := range row {
		if !v.IsNull() {
			s := string(v.Bytes())
			out[i] = &s
		}
	}
	return out, nil
}

// readSource runs a job of the source in a transaction of its own. convert is a connection to the target, for rows that have to be
// made here.
func (c *Comparer) readSource(ctx context.Context, conn, convert *pgx.Conn, j job, t *reconcile.Task, side *reconcile.Side) error {
	_, err := pgdigest.Read(ctx, conn, j.heaps, c.cfg.limits(), func(tx pgx.Tx) error {
		if j.feeder.pure {
			return c.sourceDialect.Digest(ctx, tx, j.feeder.shape, j.place, t, side)
		}
		m := &mapper{feeder: j.feeder, convert: convert, task: t, side: side}
		err := pgdigest.Rows(ctx, tx, j.feeder.source, j.place, func(row change.Row) error { return m.add(ctx, row) })
		if err != nil {
			return err
		}
		return m.flush(ctx)
	})
	if err == nil && c.cfg.Rest > 0 {
		err = service.Sleep(ctx, c.cfg.Rest)
	}
	return err
}

// mapper makes expected rows of source rows and digests them.
type mapper struct {
	feeder  *feeder
	convert *pgx.Conn
	task    *reconcile.Task
	side    *reconcile.Side

	rows  []change.Row
	bytes int
	text  []byte
}

// A batch of expected rows: what is converted at once.
const (
	batchRows  = 1000
	batchBytes = 1 << 20
)

func (m *mapper) add(ctx context.Context, row change.Row) error {
	own := make(change.Row, len(row))
	var bytes []byte
	for i, v := range row {
		if own[i] = v; !v.IsNull() && !v.IsAbsent() {
			start := len(bytes)
			bytes = append(bytes, v.Bytes()...)
			own[i] = change.Text(bytes[start:len(bytes):len(bytes)])
		}
	}
	expected, ok, err := m.feeder.rule.Expected(own)
	if err != nil {
		return fmt.Errorf("a row of %s cannot be mapped: %w", m.feeder.source.Name, err)
	}
	if !ok {
		return nil
	}
	m.rows, m.bytes = append(m.rows, expected), m.bytes+len(bytes)
	if len(m.rows) < batchRows && m.bytes < batchBytes {
		return nil
	}
	return m.flush(ctx)
}

func (m *mapper) flush(ctx context.Context) error {
	if m.feeder.rows.Needed() {
		if err := m.feeder.rows.Convert(ctx, m.convert, m.rows); err != nil {
			return err
		}
	}
	for _, row := range m.rows {
		if m.feeder.shape.Lots {
			key, h := reconcile.AppendLot(m.text[:0], row)
			m.side.Add(m.task, key, h)
			m.text = key
			continue
		}
		key := reconcile.AppendCanonical(m.text[:0], m.feeder.rule.Key(row))
		n := len(key)
		m.text = reconcile.AppendCanonical(key, row)
		m.side.Add(m.task, m.text[:n], reconcile.HashText(m.text[n:]))
	}
	m.rows, m.bytes = m.rows[:0], 0
	return nil
}
