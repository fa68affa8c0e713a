package pgtarget

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Mode is how the stages are composed. The applier's input is another topic in each, so offsets do not carry over.
type Mode string

// The modes.
const (
	Staged Mode = "staged"
	Fused  Mode = "fused"
)

// Progress is a migration's row on the target: everything at or before At is applied, and nothing else.
type Progress struct {
	Migration    string
	Mode         Mode
	Fingerprint  string
	At           change.Position
	Offset       int64 // of the frontier record on the applier's input; -1: nothing yet
	Incarnation  int64
	Owner        string
	BackendPID   int32
	BackendStart time.Time
	Loaded       bool
	Committed    time.Time // the source's commit time of what was applied last; zero: nothing yet
	Applied      time.Time // when this server did so
	Counters
	Pending    int64
	ParkedRows int64 // now
	Decisions  int64 // of people over parked rows: see Discard
}

// Counters add up over the migration's life: Changes = those with row operations + Filtered + Parked.
type Counters struct {
	Changes  int64 // source changes taken in
	RowOps   int64 // row operations that they held
	Filtered int64 // source changes without any row operation
	Parked   int64 // source changes that were set aside, also where a later one has superseded them
}

// Cursor is where to open the input.
func (p *Progress) Cursor() frontier.Cursor {
	return frontier.Cursor{Offset: p.Offset, Incarnation: p.Incarnation, At: p.At}
}

const progressSQL = `
SELECT migration, mode, fingerprint, epoch, (lsn - '0/0'::pg_catalog.pg_lsn)::text, seq, frontier_offset, incarnation,
       owner, backend_pid, backend_start, loaded, committed, applied, changes, row_ops, filtered, p.parked, decisions,
       (SELECT pg_catalog.count(*) FROM segue.parked k WHERE k.migration = p.migration),
       (SELECT pg_catalog.count(*) FROM segue.pending n WHERE n.migration = p.migration)
FROM segue.progress p WHERE migration = $1`

// ReadProgress returns nil where the migration has no row, or the target no bookkeeping schema yet.
func ReadProgress(ctx context.Context, q postgres.Querier, migration string) (*Progress, error) {
	version, err := readVersion(ctx, q)
	if err != nil || version == 0 {
		return nil, err
	}
	p, err := scanProgress(q.QueryRow(ctx, progressSQL, migration))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return p, step("read progress of "+migration, err)
}

func scanProgress(row pgx.Row) (*Progress, error) {
	var p Progress
	var epoch, seq int64
	var lsn string
	var committed, applied *time.Time
	err := row.Scan(&p.Migration, &p.Mode, &p.Fingerprint, &epoch, &lsn, &seq, &p.Offset, &p.Incarnation,
		&p.Owner, &p.BackendPID, &p.BackendStart, &p.Loaded, &committed, &applied, &p.Changes, &p.RowOps, &p.Filtered, &p.Parked,
		&p.Decisions, &p.ParkedRows, &p.Pending)
	if err != nil {
		return nil, err
	}
	if p.At, err = position(epoch, lsn, seq); err != nil {
		return nil, err
	}
	if committed != nil {
		p.Committed = *committed
	}
	if applied != nil {
		p.Applied = *applied
	}
	return &p, nil
}

// Pending is a source row that was asked for and has not arrived yet.
type Pending struct {
	Source table.Name
	Key    change.Row
	At     change.Position // of the change that asked
	Reason string
	Asked  time.Time
}

// ReadPending lists at most limit pending rows of a migration, oldest first; limit -1: all.
func ReadPending(ctx context.Context, q postgres.Querier, migration string, limit int) ([]Pending, error) {
	rows, err := q.Query(ctx, `
		SELECT source_schema, source_table, key_values, epoch, (lsn - '0/0'::pg_catalog.pg_lsn)::text, seq, reason, asked
		FROM segue.pending WHERE migration = $1 ORDER BY asked LIMIT NULLIF($2, -1)`, migration, limit)
	if err != nil {
		return nil, step("read pending rows", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Pending, error) {
		var p Pending
		var key []*string
		var epoch, seq int64
		var lsn string
		err := row.Scan(&p.Source.Schema, &p.Source.Table, &key, &epoch, &lsn, &seq, &p.Reason, &p.Asked)
		if err != nil {
			return p, err
		}
		p.Key = change.RowOf(key)
		p.At, err = position(epoch, lsn, seq)
		return p, err
	})
	return list, step("read pending rows", err)
}
