package pgtarget

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// runner sends the statements of segments as one pipeline, interrupted only by COPY and TRUNCATE, which need to be asked
// for one by one.
type runner struct {
	t       *Target
	ctx     context.Context //nolint:containedctx // lives for one call
	changes []*change.Mapped
	opens   bool       // the transaction begins with it
	saves   bool       // a savepoint is set before the first statement
	steps   bool       // and another one before each: what stands before a statement that fails need not be done again
	finish  [][]byte   // the progress row's parameters, where the transaction is committed behind the last segment
	missing []int32    // changes whose row was not found
	failed  *shape     // of the statement that failed; nil: another one
	stopped *statement // the one that failed, where it was sent with others

	pipe *pgconn.Pipeline
	sent []*statement // nil elements: statements without a shape
}

var (
	binaryFormats = []int16{1}
	textFormats   = []int16{0}
)

// flushBytes is from how many bytes of parameters on a statement is sent at once, so that the server works meanwhile.
const flushBytes = 64 << 10

func (r *runner) run(segments []segment) error {
	if err := r.prepare(segments); err != nil {
		return err
	}
	if r.opens {
		r.fixed(beginName)
		r.fixed(settingsName)
		r.fixed(deferredName)
	}
	if r.saves {
		r.fixed(savepointName)
	}
	for i := range segments {
		if err := r.segment(&segments[i]); err != nil {
			return err
		}
	}
	if r.finish != nil {
		r.fixed(immediateName)
		r.fixed(progressName, r.finish...)
		r.fixed(commitName)
	}
	return r.sync()
}

// fixed sends one of the session's own statements.
func (r *runner) fixed(name string, params ...[]byte) {
	r.pipeline().SendQueryPrepared(name, params, textFormats, textFormats)
	r.sent = append(r.sent, nil)
}

func (r *runner) segment(s *segment) error {
	if s.truncate != nil {
		if err := r.sync(); err != nil {
			return err
		}
		return r.truncate(s.truncate)
	}
	for i := range s.statements {
		st := &s.statements[i]
		if st.copy != nil {
			if err := r.sync(); err != nil {
				return err
			}
			if err := r.copy(st); err != nil {
				return err
			}
			continue
		}
		if st.shape.act != actTakeOne && st.shape.act != actTurnOne {
			r.send(st)
			continue
		}
		r.fixed(scanName)
		r.send(st)
		r.fixed(noScanName)
	}
	return nil
}

// prepare makes the statements known to the connection, once each.
func (r *runner) prepare(segments []segment) error {
	for i := range segments {
		for j := range segments[i].statements {
			st := &segments[i].statements[j]
			if st.copy != nil || r.t.prepared[st.shape.name] {
				continue
			}
			if _, err := r.t.conn.PgConn().Prepare(r.ctx, st.shape.name, st.shape.sql, nil); err != nil {
				r.failed = st.shape
				return err
			}
			r.t.prepared[st.shape.name] = true
		}
	}
	return nil
}

func (r *runner) pipeline() *pgconn.Pipeline {
	if r.pipe == nil {
		r.pipe = r.t.conn.PgConn().StartPipeline(r.ctx)
	}
	return r.pipe
}

func (r *runner) send(st *statement) {
	if r.steps {
		r.fixed(stepName)
		defer r.fixed(stepDoneName)
	}
	p := r.pipeline()
	p.SendQueryPrepared(st.shape.name, st.params, binaryFormats, binaryFormats)
	r.sent = append(r.sent, st)
	size := 0
	for _, param := range st.params {
		size += len(param)
	}
	if size > flushBytes {
		_ = p.Flush() // an error shows again at the results
	}
}

// sync ends the pipeline and reads what its statements did.
func (r *runner) sync() error {
	if r.pipe == nil {
		return nil
	}
	p, sent := r.pipe, r.sent
	r.pipe, r.sent = nil, r.sent[:0]
	err := p.Sync()
	for i := 0; err == nil && i < len(sent); i++ {
		err = r.result(p, sent[i])
		if err != nil && sent[i] != nil {
			r.failed, r.stopped = sent[i].shape, sent[i]
		}
		// The statement before COMMIT is the progress row's: it divides by zero if the row is not as this process left it.
		if r.finish != nil && i == len(sent)-2 && postgres.SQLState(err) == codeDivision {
			err = takenOver()
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err
}

func (r *runner) result(p *pgconn.Pipeline, st *statement) error {
	got, err := p.GetResults()
	if err != nil {
		return err
	}
	reader, ok := got.(*pgconn.ResultReader)
	if !ok {
		return errors.New("pipeline out of step")
	}
	if st == nil || !st.mayMiss() {
		_, err = reader.Close()
		return err
	}
	found := make([]bool, st.rows)
	for reader.NextRow() {
		if v := reader.Values()[0]; len(v) == 4 {
			found[binary.BigEndian.Uint32(v)] = true
		}
	}
	if _, err := reader.Close(); err != nil {
		return err
	}
	for i, there := range found {
		if !there && !putIn(st) {
			r.missing = append(r.missing, st.sources[i])
		}
	}
	return nil
}

// putIn says whether a row that a key change did not find is put in by the statement behind it, as a whole row is.
func putIn(st *statement) bool {
	return (st.shape.act == actRekey || st.shape.act == actMove) && len(st.shape.cols) == len(st.shape.target.Columns)
}

func (r *runner) copy(st *statement) error {
	_, err := r.t.conn.PgConn().CopyFrom(r.ctx, bytes.NewReader(st.copy), st.shape.sql)
	if err != nil {
		r.failed = st.shape
		r.t.copying.failed(st.shape.target.home)
		return err
	}
	r.t.stats.Copied += int64(st.rows)
	return nil
}

// truncate empties the tables with one statement. Where that is refused (no privilege, rows of other tables that refer
// to them, checks that wait for the commit), their rows are deleted.
func (r *runner) truncate(tr *truncation) error {
	sql, names := "TRUNCATE ", ""
	for i, n := range tr.tables {
		if i > 0 {
			names += ", "
		}
		names += n.SQL()
	}
	sql += names
	if tr.restart {
		sql += " RESTART IDENTITY"
	}
	// TRUNCATE refuses a table with waiting checks: they are made now. What does not hold yet may do so at the source transaction's end.
	err := r.t.exec(r.ctx, "SAVEPOINT segue_truncate", immediateSQL)
	if tooEarly := dataError(err); !tooEarly {
		if err == nil {
			err = r.t.exec(r.ctx, sql, deferredSQL, "RELEASE SAVEPOINT segue_truncate")
		}
		if err == nil || !serverError(err) || !instead(err) {
			return err
		}
	}
	statements := []string{"ROLLBACK TO SAVEPOINT segue_truncate", deferredSQL}
	for _, n := range tr.tables {
		statements = append(statements, "DELETE FROM "+n.SQL())
	}
	return r.t.exec(r.ctx, append(statements, "RELEASE SAVEPOINT segue_truncate")...)
}

// instead says whether DELETE may do what TRUNCATE could not.
func instead(err error) bool {
	switch postgres.SQLState(err) {
	case "0A000", "55006", codePrivilege, codeForeignKey:
		return true
	}
	return false
}

// name of the target table of the statement that failed.
func (r *runner) table() table.Name {
	if r.failed == nil {
		return table.Name{}
	}
	return r.failed.target.Table.Name
}
