package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/mapping"
	"segue/pkg/pgscan"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/dead"
)

func (p *process) deadShowCommand() command {
	var (
		form      output
		name, key string
		reveal    bool
	)
	return command{
		use: "show", short: "show everything about one row: why it is parked, and how it is in both stores",
		long: `Shows the entry and the history of a row, the change that was set aside as the raw topic has it, the row as the source has it now,
what the mapping makes of that, and the row on the target. Values are masked to their lengths, unless --reveal is given. What cannot
be reached is said, the rest is shown.`,
		example:  "  segue dead show --table public.orders --key 7\n  segue dead show --table public.stock --key '[\"eu\", 7]' --reveal\n  segue dead show --table public.orders --key 7 -o json",
		settings: everywhere,
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			cmd.Flags().StringVar(&name, "table", "", "the row's source table")
			cmd.Flags().StringVar(&key, "key", "", `its key, as segue dead list shows it; of several columns: '["eu", 7]'`)
			cmd.Flags().BoolVar(&reveal, "reveal", false, "show values, not only their lengths")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			if name == "" || key == "" {
				return usage(errors.New("which row? name it with --table and --key"))
			}
			tables, err := tableNames([]string{name})
			if err != nil {
				return usage(err)
			}
			row, err := dead.ParseKey(key)
			if err != nil {
				return usage(fmt.Errorf("--key: %w", err))
			}
			shown, err := p.show(cmd, tables[0], row, reveal)
			if err != nil {
				return err
			}
			if form.json() {
				return p.printJSON(shown)
			}
			return shown.Write(p.stdout)
		},
	}
}

// historyLines bounds a row's history, the newest lines of it.
const historyLines = 50

// reachWithin bounds how long show tries to reach what may be away.
const reachWithin = 15 * time.Second

func (p *process) show(cmd *cobra.Command, name table.Name, key change.Row, reveal bool) (shown dead.Shown, err error) {
	err = p.onTarget(cmd, func(ctx context.Context, conn *pgx.Conn, at *pgtarget.Progress) error {
		history, err := pgtarget.ReadHistory(ctx, conn, at.Migration, name, key, historyLines)
		if err != nil {
			return err
		}
		shown = dead.MakeShown(at, name, key, history, time.Now(), reveal)
		list, err := pgtarget.ReadParked(ctx, conn, at.Migration, -1)
		if err != nil {
			return err
		}
		entry := shown.SetParked(list)
		pending, err := pgtarget.ReadPending(ctx, conn, at.Migration, -1)
		if err != nil {
			return err
		}
		for i := range pending {
			if pending[i].Source == name && dead.KeyText(pending[i].Key) == dead.KeyText(key) {
				shown.SetPending(&pending[i])
			}
		}
		s := &showing{process: p, cmd: cmd, target: conn, name: name, key: key, entry: entry, shown: &shown}
		return s.rows(ctx)
	})
	return shown, err
}

// showing looks for a row in all places. What is not reached is told in its part.
type showing struct {
	process *process
	cmd     *cobra.Command
	target  *pgx.Conn
	name    table.Name
	key     change.Row
	entry   *pgtarget.Parked
	shown   *dead.Shown

	work *work
	plan *plan
	rule *mapping.Rule
}

func (s *showing) rows(ctx context.Context) error {
	settings, err := s.process.settings(s.cmd)
	if err != nil {
		return err
	}
	spec, err := s.process.spec(settings)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	if s.plan, err = readPlan(within, spec); err != nil {
		why := "not read, the tables' shapes are not known: " + err.Error()
		s.shown.Source.Reason, s.shown.Mapped.Reason, s.shown.Target.Reason = why, "needs the source's row", "needs the tables' shapes"
	} else if s.rule = s.plan.mapping.For(s.name); s.rule == nil {
		if s.entry == nil && len(s.shown.History) == 0 {
			return usage(fmt.Errorf("--table %s: the migration has no such source table", s.name))
		}
		s.shown.Source.Reason = "not read: the migration has no such table any more"
		s.shown.Mapped.Reason, s.shown.Target.Reason = s.shown.Source.Reason, s.shown.Source.Reason
	}
	servers, err := find(settings)
	if err == nil {
		s.work, err = newWork(s.process, settings, spec, servers, "dead")
	}
	if err != nil {
		s.shown.Record.Reason = "not read: " + err.Error()
	} else {
		s.record(ctx)
	}
	if s.rule == nil {
		return nil
	}
	if len(s.rule.Source().Key) != len(s.key) {
		return usage(fmt.Errorf("--key has %d values, the key of %s has %d", len(s.key), s.name, len(s.rule.Source().Key)))
	}
	s.both(ctx, string(spec.Source.Postgres), spec.Name.ApplicationName("dead"))
	return nil
}

// record looks for the change that was set aside on the raw topic.
func (s *showing) record(ctx context.Context) {
	part := &s.shown.Record
	if s.entry == nil {
		part.Reason = "the row is not parked"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	topic := s.work.spec.Name.RawTopic(s.name)
	found, trimmed, err := kafka.Find(ctx, s.work.servers.kafka, topic, s.entry.At)
	switch {
	case err != nil:
		part.Reason = "not read: " + err.Error()
		return
	case trimmed:
		part.Reason = fmt.Sprintf("%s has it no more: what is applied is deleted after kafka.retention", topic)
		return
	case found == nil:
		part.Reason = fmt.Sprintf("%s has no record at %s", topic, s.entry.At)
		return
	}
	part.Place = fmt.Sprintf("%s, partition %d, offset %d:", topic, found.Partition, found.Offset)
	if s.rule == nil {
		part.Reason = fmt.Sprintf("%d bytes, which need the table's shape to be read", len(found.Value))
		return
	}
	if err := s.decode(ctx, topic, found, part); err != nil {
		part.Reason = "not read: " + err.Error()
	}
}

func (s *showing) decode(ctx context.Context, topic string, found *kafka.LaneRecord, part *dead.Part) error {
	from := s.work.wireSource(s.plan.source)
	from.CatalogAt, from.Unused = s.plan.source.LSN, s.plan.ignores
	codec, err := wire.NewChanges(ctx, s.work.registry, topic, s.rule.Source(), from)
	if err != nil {
		return err
	}
	var c change.Change
	if err := codec.DecodeIn(&wire.Arena{}, found.Value, &c); err != nil {
		return err
	}
	if !concerns(&c, s.key) {
		part.Place, part.Reason = "", fmt.Sprintf("the change at %s is another row's: this one was parked there at the end of the initial load, because it refers to a row that was not there", s.entry.At)
		return nil
	}
	part.Op = c.Op.String()
	if c.Fault != nil {
		part.Reason = "it travels as a stub: " + c.Fault.Text
	}
	part.Before, part.Row = s.shown.Cells(c.Table, nil, c.Before), s.shown.Cells(c.Table, nil, c.After)
	return nil
}

// concerns says whether a change is of the row with a key, before or after it.
func concerns(c *change.Change, key change.Row) bool {
	for _, row := range []change.Row{c.Before, c.After} {
		same := row != nil && len(c.Table.Key) == len(key)
		for i, k := range c.Table.Key {
			same = same && row[k].Equal(key[i])
		}
		if same {
			return true
		}
	}
	return false
}

// both reads the row on both sides, and maps the source's.
func (s *showing) both(ctx context.Context, url, app string) {
	shape, out := s.rule.Source(), s.rule.Target()
	s.shown.Source.Place, s.shown.Target.Place = shape.Name.String(), out.Table.Name.String()
	s.shown.Mapped.Place = shape.Name.String() + " → " + out.Table.Name.String() + ":"
	key := s.copied()
	row, err := s.source(ctx, url, app)
	switch {
	case err != nil:
		s.shown.Source.Reason, s.shown.Mapped.Reason = "not read: "+err.Error(), "needs the source's row"
	case row == nil:
		s.shown.Source.Reason, s.shown.Mapped.Reason = "it has no such row now", "a retry would delete the row"
	default:
		s.shown.Source.Row = s.shown.Cells(shape, nil, row)
		if mapped := s.mapped(row); mapped != nil {
			key = mapped
		}
	}
	if key == nil {
		s.shown.Target.Reason = "its key there is not known: the mapping computes it"
		return
	}
	found, err := pgtarget.ReadRow(ctx, s.target, out, key)
	switch {
	case err != nil:
		s.shown.Target.Reason = "not read: " + err.Error()
	case found == nil:
		s.shown.Target.Reason = "it has no such row"
	default:
		s.shown.Target.Row = s.shown.Cells(out.Table, out.Columns, found)
	}
}

// copied is the row's target key where that is the source's key in another order; nil: it is computed.
func (s *showing) copied() change.Row {
	shape, columns := s.rule.Source(), s.rule.Columns()
	var out change.Row
	for _, k := range s.rule.Target().Key {
		from := columns[k].Source
		at := -1
		for i, o := range shape.Key {
			if o == from {
				at = i
			}
		}
		if at < 0 {
			return nil
		}
		out = append(out, s.key[at])
	}
	return out
}

// source reads the row as it is now; nil: there is none.
func (s *showing) source(ctx context.Context, url, app string) (change.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	pool, err := postgres.NewPool(ctx, url, app, 1)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	shape := s.rule.Source()
	asked := make(change.Row, len(shape.Columns))
	for i, k := range shape.Key {
		asked[k] = s.key[i]
	}
	found, err := pgscan.New(pool, s.plan.source.SystemID).ReadKeys(ctx, shape, []change.Row{asked}, 0)
	if err != nil || len(found.Rows) == 0 {
		return nil, err
	}
	return found.Rows[0], nil
}

// mapped shows what the mapping makes of a source row, and returns its target key.
func (s *showing) mapped(row change.Row) change.Row {
	part, out := &s.shown.Mapped, s.rule.Target()
	var m change.Mapped
	c := change.Change{Table: s.rule.Source(), Op: change.Read, After: row}
	if s.entry != nil {
		c.Pos = s.entry.At
	}
	if err := s.rule.Map(&c, &m); err != nil {
		part.Reason = "it has no result: " + err.Error()
		if fault.ClassOf(err) != fault.ClassPoison {
			part.Reason = err.Error()
		}
		return nil
	}
	if len(m.Ops) == 0 {
		part.Reason = "it makes nothing of the row"
		return nil
	}
	op := &m.Ops[0]
	if op.Row == nil {
		part.Op, part.Reason = op.Op.String(), "the row is left out by where"
		return op.Key
	}
	part.Op, part.Row = "put", s.shown.Cells(out.Table, out.Columns, op.Row)
	return s.rule.Key(op.Row)
}
