package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/fault"
)

// Error is what may be told of a server's error: everything but the texts that quote row values. It does not wrap the
// driver's error, so that nobody can print that by accident.
type Error struct {
	Code, Severity                              string
	Schema, Table, Column, Constraint, DataType string
	// Message is the server's text, empty for every class of errors in which it may hold a value.
	Message string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Message != "" {
		b.WriteString(e.Message + " ")
	}
	fmt.Fprintf(&b, "(SQLSTATE %s", e.Code)
	if name := conditionName(e.Code); name != "" {
		b.WriteString(" " + name)
	}
	b.WriteByte(')')
	for _, part := range []struct{ label, value string }{
		{"schema", e.Schema}, {"table", e.Table}, {"column", e.Column}, {"constraint", e.Constraint}, {"type", e.DataType},
	} {
		if part.value != "" {
			b.WriteString(" " + part.label + " " + part.value)
		}
	}
	return b.String()
}

// SQLState is the error's code.
func (e *Error) SQLState() string { return e.Code }

// Safe returns err without row values and with its class. A server's error becomes an *Error; the driver's own errors
// about a value (a wrong Go type, a text that cannot be read) lose their text; others are kept, nil stays nil.
func Safe(err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) && !leaks(err) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classified(fromServer(pg), classOfCode(pg.Code))
	}
	if err := withoutValue(err); err != nil {
		return err
	}
	if transient(err) {
		return fault.Transient(err)
	}
	return err
}

// leaks says whether a driver's error can still be reached in the chain.
func leaks(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg)
}

func classified(err error, class fault.Class) error {
	switch class {
	case fault.ClassTransient:
		return fault.Transient(err)
	case fault.ClassPoison:
		return fault.Poison(err)
	case fault.ClassFatal:
	}
	return fault.Fatal(err, "")
}

func fromServer(pg *pgconn.PgError) *Error {
	e := &Error{
		Code: pg.Code, Severity: pg.SeverityUnlocalized,
		Schema: pg.SchemaName, Table: pg.TableName, Column: pg.ColumnName,
		Constraint: pg.ConstraintName, DataType: pg.DataTypeName,
	}
	if e.Severity == "" {
		e.Severity = pg.Severity
	}
	// A context means that the error rose inside a function, a trigger or a COPY: they may quote anything, whatever the code.
	if pg.Where == "" && pg.InternalQuery == "" && messageIsSafe(pg.Code) {
		e.Message = pg.Message
	}
	return e
}

// withoutValue replaces the driver's errors that quote a value: of an argument it could not encode, of a result that it could
// not read. Nil where err is not such a one.
func withoutValue(err error) error {
	var scan pgx.ScanArgError
	var number *strconv.NumError
	switch {
	case errors.As(err, &scan):
		return fmt.Errorf("read result column %d: the value does not fit", scan.ColumnIndex)
	case errors.As(err, &number):
		return errors.New("read a number: the text is not one")
	case strings.Contains(err.Error(), "unable to encode"), strings.Contains(err.Error(), "failed to encode"):
		return errors.New("send an argument: the value does not fit its type")
	}
	return nil
}

func transient(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false // the caller's wish, no fault of the connection
	}
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded)
}

// SQLState returns the code of the server's error in err's chain, "" where there is none.
func SQLState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// stepError is Safe with the step that went wrong in front; the class stays.
func stepError(step string, err error) error { return fmt.Errorf("%s: %w", step, Safe(err)) }
