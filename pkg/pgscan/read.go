package pgscan

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/chunk"
	"segue/pkg/postgres"
)

// Read reads a range of blocks. More than limit bytes of text are ErrTooLarge; 0 is no limit.
func (s *Scanner) Read(ctx context.Context, c chunk.Chunk, limit int64) (Result, error) {
	var out Result
	err := s.within(ctx, c.Leaf, func(conn *pgconn.PgConn, filenode uint32, snap chunk.Snapshot) error {
		if filenode != c.Filenode {
			return ErrRewritten
		}
		at, sql := columns(c.Table, "")
		p := &parser{columns: at, width: len(c.Table.Columns), limit: limit, largest: s.largest(c.Table), table: c.Table}
		_, err := conn.CopyTo(ctx, p, "COPY (SELECT "+sql+" FROM ONLY "+c.Leaf.SQL()+" WHERE "+where(c)+s.conditions(c)+predicate(c)+") TO STDOUT")
		if err == nil {
			err = p.end()
		}
		if errors.Is(p.err, ErrTooLarge) {
			return ErrTooLarge
		}
		out = Result{Snapshot: snap, Rows: p.rows, Bytes: p.bytes, Large: p.large}
		return untranslatable(postgres.Safe(err))
	})
	if err != nil {
		return Result{}, fmt.Errorf("read %s blocks %d to %d: %w", c.Leaf, c.Range.From, c.Range.To, err)
	}
	return out, nil
}

// conditions is what else the rows of a fresh chunk have to fulfil.
func (s *Scanner) conditions(c chunk.Chunk) string {
	if !c.Fresh {
		return ""
	}
	return conditionsSQL(c.Table, s.Conditions[c.Table.Name])
}

func where(c chunk.Chunk) string {
	low := fmt.Sprintf("ctid >= '(%d,%d)'", c.Range.From, c.Lines.From)
	if c.Lines.To > 0 {
		return low + fmt.Sprintf(" AND ctid < '(%d,%d)'", c.Range.From, c.Lines.To)
	}
	if c.Open {
		return low
	}
	return low + fmt.Sprintf(" AND ctid < '(%d,0)'", c.Range.To)
}
