package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Stage is this stage's name in the faults of parked rows.
const Stage = "applier"

// The codes of PostgreSQL that decide something here.
const (
	codeForeignKey = "23503"
	codeUnique     = "23505"
	codeExclusion  = "23P01"
	codeDivision   = "22012"
	codePrivilege  = "42501"
	codeUndefined  = "42704"
)

// ErrTakenOver says that another process owns the migration now. This one must not write again.
var ErrTakenOver = errors.New("another process has taken over the migration")

func takenOver() error {
	return fault.Fatal(ErrTakenOver, "run one applier per migration; this one stops")
}

// ErrRewind says that the target stands before what this process has given to it: the source has to be opened again at Cursor.
var ErrRewind = errors.New("read again from the target's last commit")

// FingerprintError says that the mapping is not the one that the target was written by.
type FingerprintError struct{ Target, Own string }

func (e *FingerprintError) Error() string {
	return fmt.Sprintf("the mapping changed: the target was written by %.12s, this process has %.12s", e.Target, e.Own)
}

// ModeError says that the target was written in the other mode (staged or fused), whose offsets mean nothing here.
type ModeError struct{ Target, Own string }

func (e *ModeError) Error() string {
	return fmt.Sprintf("the target was written in mode %s, this process runs %s", e.Target, e.Own)
}

// PrivilegeError says that segue may not do something itself; SQL is what somebody who may can run instead.
type PrivilegeError struct {
	What string
	SQL  []string
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("%s: this role may not (SQLSTATE %s)", e.What, codePrivilege)
}

// As makes the error a fatal one with its SQL as the hint.
func (e *PrivilegeError) As(target any) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = &fault.Error{Err: errors.New(e.Error()), Class: fault.ClassFatal, Hint: "run as the owner:\n" + strings.Join(e.SQL, ";\n") + ";"}
	}
	return ok
}

// OrphanError says that rows of a table name a parent that is not there, so that a foreign key cannot be enforced.
type OrphanError struct {
	Constraint string
	Table      table.Name
	Rows       int64 // -1: not counted
}

func (e *OrphanError) Error() string {
	if e.Rows < 0 {
		return fmt.Sprintf("validate foreign key %s of %s: there are rows without a parent", e.Constraint, e.Table)
	}
	return fmt.Sprintf("validate foreign key %s of %s: %d rows have no parent", e.Constraint, e.Table, e.Rows)
}

// ApplyError names the change that the target refuses. It holds no row value.
type ApplyError struct {
	Target table.Name // zero where a constraint was checked at the end of a source transaction
	Source table.Name
	Pos    change.Position
	Err    error // a safe error of package postgres
}

func (e *ApplyError) Error() string {
	if e.Target == (table.Name{}) {
		return fmt.Sprintf("apply the source transaction at %s: %v", e.Pos, e.Err)
	}
	return fmt.Sprintf("apply %s (from %s) at %s: %v", e.Target, e.Source, e.Pos, e.Err)
}

func (e *ApplyError) Unwrap() error { return e.Err }

// refusalOf is why a change that the target refuses is parked. A change that names no row, or whose row nobody could find again, stops the pipeline.
// So does a table that somebody has altered: its rows are not at fault. That is looked up once in a plan; the transaction is one that goes on.
func (t *Target) refusalOf(ctx context.Context, m *change.Mapped, err error) (refusal, error) {
	safe := postgres.Safe(err)
	for i := range m.Ops {
		tt := t.targets[m.Ops[i].Target]
		if t.seen[tt.home] {
			continue
		}
		if aerr := t.altered(ctx, tt, safe); aerr != nil {
			return refusal{}, aerr
		}
		t.seen[tt.home] = true
	}
	if !t.parkable(m) {
		return refusal{}, t.refused(m, safe)
	}
	why := safe.Error()
	if postgres.Untranslatable(safe) {
		why = "the target's encoding lacks a character of the row " + why
	}
	return refusal{fault: change.Fault{Stage: Stage, Code: postgres.SQLState(err), Text: why}}, nil
}

// parkable says that the change's row can be set aside by its key.
func (t *Target) parkable(m *change.Mapped) bool {
	if m.SourceKey == nil || m.SourceOp == change.Truncate {
		return false
	}
	for i := range m.Ops {
		if ct := t.targets[m.Ops[i].Target].Target; ct.Keyless || ct.Roams {
			return false
		}
	}
	return true
}

// refused stops at a change that the target refuses and that cannot be parked.
func (t *Target) refused(m *change.Mapped, err error) error {
	target := table.Name{}
	if len(m.Ops) > 0 {
		target = t.targets[m.Ops[0].Target].Table.Name
	}
	mend := "mend the row, the mapping or the target's constraint"
	if postgres.Untranslatable(err) {
		mend = "the target's encoding lacks a character of the row: let the mapping replace it, or take a database in UTF8"
	}
	return fault.Fatal(&ApplyError{Target: target, Source: m.Source, Pos: m.Pos, Err: err}, "nothing at or behind this position was applied: "+mend+", then start again")
}

// step is a safe error with the step that went wrong in front; nil stays nil.
func step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, postgres.Safe(err))
}

var errNoSourceKey = errors.New("a partial update found no row, and the change does not say which source row it was")

var errSharedTruncate = errors.New("the source table was truncated, but the target table has other rows too")
