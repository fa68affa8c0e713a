package pgtarget

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

// pendingKey is a source row that the target lacks, or has an incomplete copy of.
type pendingKey struct {
	source table.Name
	key    change.Row
	at     change.Position
	reason string
}

// Why a row is asked for.
const (
	reasonNotFound   = "a partial update found no row"
	reasonIncomplete = "a change did not hold every value that the mapping needs"
	reasonNoSuchRow  = "a row of a table without key is not there: the table is loaded again"
	reasonMoved      = "the key changed while rows of the table were pending"
)

// maxPending bounds the memory of the list (P8). So many missing rows mean that a table should be resynced.
const maxPending = 100_000

// pendingKeys is the committed content of segue.pending.
type pendingKeys struct {
	keys   map[string]struct{}
	tables map[table.Name]int
}

func (p *pendingKeys) len() int { return len(p.keys) }

func keyString(source table.Name, key change.Row) string {
	b := []byte(source.Schema + "\x00" + source.Table + "\x00")
	for i := range key {
		b = key.AppendKey(b, []int{i})
	}
	return string(b)
}

func (p *pendingKeys) load(ctx context.Context, q postgres.Querier, migration string) error {
	p.keys, p.tables = map[string]struct{}{}, map[table.Name]int{}
	list, err := ReadPending(ctx, q, migration, maxPending+1)
	if err != nil {
		return err
	}
	for _, n := range list {
		p.insert(n.Source, n.Key)
	}
	return nil
}

func (p *pendingKeys) insert(source table.Name, key change.Row) {
	k := keyString(source, key)
	if _, ok := p.keys[k]; !ok {
		p.keys[k] = struct{}{}
		p.tables[source]++
	}
}

func (p *pendingKeys) has(source table.Name, key change.Row) bool {
	if len(p.keys) == 0 || key == nil || p.tables[source] == 0 {
		return false
	}
	_, ok := p.keys[keyString(source, key)]
	return ok
}

// commit takes over what a commit has written.
func (p *pendingKeys) commit(arrived, asked []pendingKey) {
	for _, a := range arrived {
		k := keyString(a.source, a.key)
		if _, ok := p.keys[k]; ok {
			delete(p.keys, k)
			p.tables[a.source]--
		}
	}
	for _, a := range asked {
		p.insert(a.source, a.key)
	}
}

// arrivals are the pending rows that the changes bring whole or delete.
func (p *pendingKeys) arrivals(changes []*change.Mapped) []pendingKey {
	if len(p.keys) == 0 {
		return nil
	}
	var out []pendingKey
	for _, m := range changes {
		if key := settled(m); p.has(m.Source, key) {
			out = append(out, pendingKey{source: m.Source, key: key})
		}
	}
	return out
}

// settled is the key of the row for which nothing before the change matters any more; nil: there is none.
func settled(m *change.Mapped) change.Row {
	switch {
	case m.SourceOp == change.Truncate:
		return wholeTable()
	case m.Want == nil && (m.SourceOp == change.Read || m.SourceOp == change.Insert || m.SourceOp == change.Delete):
		return m.SourceKey
	}
	return nil
}

// toAsk lists what has to be requested for the changes, missing being those whose row was not found. A row that a later
// change of the list brings whole or deletes is left out.
func (t *Target) toAsk(changes []*change.Mapped, missing []int32) ([]pendingKey, error) {
	var out []pendingKey
	var places []int
	add := func(i int, key change.Row, reason string) {
		if key != nil {
			out = append(out, pendingKey{source: changes[i].Source, key: key, at: changes[i].Pos, reason: reason})
			places = append(places, i)
		}
	}
	for _, i := range missing {
		m := changes[i]
		if t.keyless(m) {
			ask, err := t.adrift(changes, i)
			if err != nil {
				return nil, err
			}
			if ask {
				add(int(i), wholeTable(), reasonNoSuchRow)
			}
			continue
		}
		if m.SourceKey == nil { // nobody to ask for: left out, it would be skipped in silence
			return nil, fault.Fatal(&ApplyError{Source: m.Source, Pos: m.Pos, Err: errNoSourceKey}, "resync the table")
		}
		add(int(i), m.SourceKey, reasonNotFound)
	}
	for i, m := range changes {
		if m.Want != nil {
			add(i, m.Want, reasonIncomplete)
		}
		// The old key is not known here. Where it may have been pending, the row is asked for under its new one.
		if t.pending.tables[m.Source] > 0 && m.SourceOp == change.Update && partialMove(m) {
			add(i, m.SourceKey, reasonMoved)
		}
	}
	return unsettled(changes, out, places), nil
}

// unsettled leaves out the keys that a change behind the place that asked for them settles, and doubles.
func unsettled(changes []*change.Mapped, keys []pendingKey, places []int) []pendingKey {
	if len(keys) == 0 {
		return nil
	}
	asked := make(map[string]bool, len(keys))
	for _, k := range keys {
		asked[keyString(k.source, k.key)] = true
	}
	last := map[string]int{}
	for i, m := range changes {
		if key := settled(m); key != nil {
			if k := keyString(m.Source, key); asked[k] {
				last[k] = i
			}
		}
	}
	out := keys[:0]
	for i, k := range keys {
		s := keyString(k.source, k.key)
		if at, ok := last[s]; asked[s] && (!ok || at < places[i]) {
			asked[s] = false
			out = append(out, k)
		}
	}
	return out
}

func partialMove(m *change.Mapped) bool {
	for i := range m.Ops {
		if m.Ops[i].Key != nil && m.Ops[i].Op == change.Update && !m.Ops[i].Row.Whole() {
			return true
		}
	}
	return false
}

// maxRequestKeys bounds a request, which has to fit into a record of its topic.
const maxRequestKeys = 1000

// ask makes the requests durable, as few per source table as fit.
func (t *Target) ask(ctx context.Context, keys []pendingKey) error {
	if len(keys) == 0 {
		return nil
	}
	if t.pending.len()+len(t.tx.asked)+len(keys) > maxPending {
		return fault.Fatal(fmt.Errorf("more than %d rows are pending", maxPending),
			"resync the table, or set REPLICA IDENTITY FULL on the source: then updates hold every value")
	}
	now := time.Now()
	byTable := map[table.Name]*request.Request{}
	var list []*request.Request
	for _, k := range keys {
		r := byTable[k.source]
		if r == nil || len(r.Keys) == maxRequestKeys {
			r = &request.Request{
				ID:   fmt.Sprintf("%s %s %s", t.cfg.Migration, k.source, k.at),
				Kind: request.Keys, Table: k.source, By: "applier", Written: now.UnixMicro(),
			}
			byTable[k.source] = r
			list = append(list, r)
		}
		r.Keys = append(r.Keys, k.key)
	}
	requests := make([]request.Request, len(list))
	for i, r := range list {
		requests[i] = *r
	}
	if err := t.cfg.Asker.Ask(ctx, requests); err != nil {
		return fmt.Errorf("request %d rows: %w", len(keys), err)
	}
	t.stats.Asked += int64(len(keys))
	return nil
}

// write brings segue.pending in line, inside the open transaction.
func (p *pendingKeys) write(ctx context.Context, conn *pgx.Conn, migration string, arrived, asked []pendingKey) error {
	if len(arrived)+len(asked) == 0 {
		return nil
	}
	var batch pgx.Batch
	for _, k := range arrived {
		batch.Queue(`DELETE FROM segue.pending WHERE migration = $1 AND source_schema = $2 AND source_table = $3 AND key_values = $4::text[]`,
			migration, k.source.Schema, k.source.Table, k.key.Texts())
	}
	for _, k := range asked {
		batch.Queue(`
			INSERT INTO segue.pending (migration, source_schema, source_table, key_values, epoch, lsn, seq, reason)
			VALUES ($1, $2, $3, $4::text[], $5::text::bigint, $6::text::pg_catalog.pg_lsn, $7::text::bigint, $8) ON CONFLICT DO NOTHING`,
			migration, k.source.Schema, k.source.Table, k.key.Texts(),
			epochText(k.at), lsnText(k.at.LSN), seqText(k.at), strings.TrimSpace(k.reason))
	}
	return conn.SendBatch(ctx, &batch).Close()
}
