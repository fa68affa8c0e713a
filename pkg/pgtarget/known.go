package pgtarget

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// A transaction of the source that is too large for one plan is applied in slices of one open transaction. What breaks a foreign key is found at its end, when
// the slice that holds the row is long applied. Then the rows are looked up on the target, written down there by their target keys, and the
// transaction is read again from its start, which leaves them out. It is written down because the process that reads again may be another one.

// knownRefusals are the rows of one source transaction that are known to break something at its end.
type knownRefusals struct {
	at   change.Position // of the transaction: epoch and LSN count
	rows map[string]refusal
}

func knownStatements() []string {
	return []string{`CREATE TABLE IF NOT EXISTS segue.refused (
		migration text NOT NULL,
		epoch bigint NOT NULL,
		lsn pg_catalog.pg_lsn NOT NULL,
		target_schema text NOT NULL,
		target_table text NOT NULL,
		key_values text[] NOT NULL,
		code text NOT NULL,
		reason text NOT NULL,
		refused timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
	)`}
}

func (k *knownRefusals) load(ctx context.Context, q postgres.Querier, migration string) error {
	*k = knownRefusals{}
	rows, err := q.Query(ctx, `SELECT epoch, (lsn - '0/0'::pg_catalog.pg_lsn)::text, target_schema, target_table, key_values, code, reason
		FROM segue.refused WHERE migration = $1`, migration)
	if err != nil {
		return step("read refused rows", err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var epoch int64
		var lsn string
		var name table.Name
		var key []*string
		r := refusal{fault: change.Fault{Stage: Stage}}
		err := row.Scan(&epoch, &lsn, &name.Schema, &name.Table, &key, &r.fault.Code, &r.fault.Text)
		if err != nil {
			return struct{}{}, err
		}
		if k.at, err = position(epoch, lsn, 0); err != nil {
			return struct{}{}, err
		}
		k.put(name, change.RowOf(key), r)
		return struct{}{}, nil
	})
	return step("read refused rows", err)
}

// put reports whether the row is new.
func (k *knownRefusals) put(name table.Name, key change.Row, r refusal) bool {
	if k.rows == nil {
		k.rows = map[string]refusal{}
	}
	s := keyString(name, key)
	_, there := k.rows[s]
	k.rows[s] = r
	return !there
}

// knownOf is the refusal of a change, if it is known.
func (t *Target) knownOf(m *change.Mapped) (refusal, bool) {
	k := &t.known
	if len(k.rows) == 0 || m.Pos.LSN != k.at.LSN || m.Pos.Epoch != k.at.Epoch {
		return refusal{}, false
	}
	for i := range m.Ops {
		tt := t.targets[m.Ops[i].Target]
		for _, key := range [][]change.Value{m.Ops[i].Key, tt.keyOf(m.Ops[i].Row)} {
			if key == nil {
				continue
			}
			if r, ok := k.rows[keyString(tt.Table.Name, key)]; ok {
				return r, true
			}
		}
	}
	return refusal{}, false
}

func (t *target) keyOf(row change.Row) change.Row {
	if row == nil {
		return nil
	}
	return keyOfRow(t, row)
}

// passed says that a plan applies the transaction that the list is about.
func (k *knownRefusals) passed(p *Plan) bool { return len(k.rows) > 0 && !p.to.At.Before(k.at) }

// forgetKnown ends the list with its transaction.
func (t *Target) forgetKnown(ctx context.Context, p *Plan) error {
	if !t.known.passed(p) {
		return nil
	}
	_, err := t.conn.Exec(ctx, `DELETE FROM segue.refused WHERE migration = $1`, t.cfg.Migration)
	return err
}

// remember looks up what breaks a foreign key at the end of a transaction whose earlier slices are applied, writes it down, and asks for the transaction
// to be read again. The rows that refer to nothing are left out first; where they are none of this transaction, what took their parents away.
func (t *Target) remember(ctx context.Context, k *brokenKey, m *change.Mapped, broken error) error {
	found := &knownRefusals{at: m.Pos, rows: map[string]refusal{}}
	for s, r := range t.known.rows {
		found.rows[s] = r
	}
	var fresh []knownRow
	err := t.scanning(ctx, func() (err error) {
		if fresh, err = t.orphansNow(ctx, k, k.child, found); err == nil && len(fresh) == 0 {
			fresh, err = t.orphansNow(ctx, k, k.parent, found)
		}
		return err
	})
	if err != nil {
		return err
	}
	safe := postgres.Safe(broken)
	if len(fresh) == 0 {
		return t.refused(m, safe)
	}
	if len(found.rows) > t.cfg.Park.Limit {
		return parkedTooMany(fmt.Sprintf("%d rows of one source transaction break %s", len(found.rows), k.child), m.Pos, &change.Fault{Text: safe.Error()}, "park.limit", t.cfg.Park.Limit)
	}
	if err := t.Rollback(ctx); err != nil {
		return err
	}
	if err := t.writeKnown(ctx, m, fresh, safe); err != nil {
		return err
	}
	return fault.Transient(fmt.Errorf("%d rows break a foreign key at the end of a large source transaction, which is read again without them: %w", len(fresh), ErrRewind))
}

// knownRow is a row of the target by its key.
type knownRow struct {
	table table.Name
	key   change.Row
}

// orphansNow are the rows that refer to nothing: themselves, or what they refer to, by the table that is asked for.
func (t *Target) orphansNow(ctx context.Context, k *brokenKey, of table.Name, found *knownRefusals) ([]knownRow, error) {
	columns := func(alias string, names []string) string {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = alias + "." + table.Quote(n) + "::text"
		}
		return "ARRAY[" + strings.Join(out, ", ") + "]"
	}
	var tt *target
	for _, x := range t.targets {
		if x.Table.Name == of && !x.Keyless && !x.Roams {
			tt = x
		}
	}
	if tt == nil {
		return nil, nil
	}
	names := keyColumnNames(tt)
	if of == k.parent && of != k.child || of == k.parent && len(found.rows) > 0 {
		if names = k.ownFor(keyColumnNames(tt)); names == nil {
			return nil, nil // they refer to something else than the key
		}
	}
	rows, err := t.conn.Query(ctx, fmt.Sprintf("SELECT %s FROM %s AS c WHERE %s LIMIT %d",
		columns("c", names), k.child.SQL(), k.refersToNothing(), t.cfg.Park.Limit+1))
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]*string])
	if err != nil {
		return nil, err
	}
	var out []knownRow
	for _, texts := range list {
		if r := (knownRow{table: of, key: change.RowOf(texts)}); found.put(of, r.key, refusal{}) {
			out = append(out, r)
		}
	}
	return out, nil
}

// ownFor are the referring columns in the order of the parent's key, nil where the key is not what they refer to.
func (k *brokenKey) ownFor(key []string) []string {
	if len(key) != len(k.referred) {
		return nil
	}
	out := make([]string, len(key))
	for i, name := range key {
		for j := range k.referred {
			if k.referred[j] == name {
				out[i] = k.own[j]
			}
		}
		if out[i] == "" {
			return nil
		}
	}
	return out
}

func (t *Target) writeKnown(ctx context.Context, m *change.Mapped, rows []knownRow, why error) error {
	err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `SELECT FROM segue.progress WHERE migration = $1 AND owner = $2 FOR UPDATE`, t.cfg.Migration, t.owner)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return takenOver()
		}
		for _, r := range rows {
			if _, err := tx.Exec(ctx, `INSERT INTO segue.refused (migration, epoch, lsn, target_schema, target_table, key_values, code, reason)
				VALUES ($1, $2::text::bigint, $3::text::pg_catalog.pg_lsn, $4, $5, $6::text[], $7, $8)`,
				t.cfg.Migration, epochText(m.Pos), lsnText(m.Pos.LSN), r.table.Schema, r.table.Table, r.key.Texts(), codeForeignKey, why.Error()); err != nil {
				return err
			}
		}
		return nil
	})
	return step("write down refused rows", err)
}
