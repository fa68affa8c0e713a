package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

// secret stands for a row's value. It must never come out.
const secret = "Erika-Mustermann-4711"

// Every class of SQLSTATE, with the value wherever PostgreSQL has a text: P10.
func TestSafeDropsValuesOfEveryClass(t *testing.T) {
	for _, c := range []struct {
		code    string
		class   fault.Class
		message bool // kept, where it rose outside functions
	}{
		{"08006", fault.ClassTransient, true}, {"0A000", fault.ClassFatal, true}, {"21000", fault.ClassPoison, false},
		{"22001", fault.ClassPoison, false}, {"22003", fault.ClassPoison, false}, {"22P02", fault.ClassPoison, false}, {"22023", fault.ClassPoison, false},
		{"23502", fault.ClassPoison, false}, {"23503", fault.ClassPoison, false}, {"23505", fault.ClassPoison, false},
		{"23514", fault.ClassPoison, false}, {"23P01", fault.ClassPoison, false},
		{"25006", fault.ClassTransient, true}, {"25P02", fault.ClassFatal, true}, {"25P03", fault.ClassTransient, true},
		{"28P01", fault.ClassFatal, true}, {"28000", fault.ClassFatal, true}, {"3D000", fault.ClassFatal, true}, {"3F000", fault.ClassFatal, true},
		{"40001", fault.ClassTransient, true}, {"40P01", fault.ClassTransient, true}, {"40002", fault.ClassPoison, false},
		{"42501", fault.ClassFatal, true}, {"42601", fault.ClassFatal, true}, {"42P01", fault.ClassFatal, true}, {"42703", fault.ClassFatal, true},
		{"44000", fault.ClassPoison, false}, {"53100", fault.ClassTransient, true}, {"53300", fault.ClassTransient, true}, {"53400", fault.ClassFatal, true},
		{"54000", fault.ClassPoison, true}, {"55000", fault.ClassFatal, true}, {"55006", fault.ClassTransient, true}, {"55P03", fault.ClassTransient, true},
		{"57014", fault.ClassTransient, true}, {"57P01", fault.ClassTransient, true}, {"57P03", fault.ClassTransient, true}, {"58030", fault.ClassTransient, true}, {"58P01", fault.ClassFatal, true},
		{"F0000", fault.ClassFatal, false}, {"HV000", fault.ClassFatal, false}, {"P0001", fault.ClassPoison, false}, {"P0002", fault.ClassPoison, false},
		{"XX000", fault.ClassFatal, false}, {"XX001", fault.ClassFatal, true}, {"XX002", fault.ClassFatal, true}, {"ZZ999", fault.ClassFatal, false}, {"", fault.ClassFatal, false},
	} {
		for _, inFunction := range []bool{false, true} {
			pg := &pgconn.PgError{
				Severity: "FEHLER", SeverityUnlocalized: "ERROR", Code: c.code, Detail: "Key (name)=(" + secret + ")", Hint: secret, InternalPosition: 7,
				SchemaName: "crm", TableName: "customer", ColumnName: "mail", ConstraintName: "customer_mail_key", DataTypeName: "mail_address",
				Message: "about objects",
			}
			if !c.message {
				pg.Message = "value " + secret
			}
			if inFunction {
				pg.Message, pg.Where, pg.InternalQuery = "value "+secret, "PL/pgSQL function f() "+secret, "SELECT '"+secret+"'"
			}
			err := fmt.Errorf("apply public.users: %w", pg)
			safe := postgres.Safe(err)
			name := fmt.Sprintf("%s in a function: %v", c.code, inFunction)
			for _, text := range []string{safe.Error(), fmt.Sprintf("%+v", safe), fmt.Sprintf("%#v", errors.Unwrap(safe))} {
				if strings.Contains(text, secret) {
					t.Errorf("%s: the value came out: %s", name, text)
				}
			}
			if got := fault.ClassOf(safe); got != c.class {
				t.Errorf("%s: %s, want %s", name, got, c.class)
			}
			if got := strings.Contains(safe.Error(), "about objects"); got != (c.message && !inFunction) {
				t.Errorf("%s: message kept: %v: %s", name, got, safe)
			}
			if postgres.SQLState(safe) != c.code || postgres.SQLState(err) != c.code {
				t.Errorf("%s: state %q", name, postgres.SQLState(safe))
			}
			for _, part := range []string{"crm", "customer", "mail", "customer_mail_key", "mail_address"} {
				if !strings.Contains(safe.Error(), part) {
					t.Errorf("%s: %s is missing from %s", name, part, safe)
				}
			}
			var leaked *pgconn.PgError
			if errors.As(safe, &leaked) {
				t.Errorf("%s: the driver's error can be reached", name)
			}
			if again := postgres.Safe(safe); again != safe { //nolint:errorlint // the same value is meant
				t.Errorf("%s: twice is not once: %v", name, again)
			}
		}
	}
}

func TestSafeClassifiesTheDriversOwnErrors(t *testing.T) {
	if postgres.Safe(nil) != nil {
		t.Error("nil became an error")
	}
	for _, c := range []struct {
		err   error
		class fault.Class
	}{
		{io.EOF, fault.ClassTransient}, {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), fault.ClassTransient},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, fault.ClassTransient}, {net.ErrClosed, fault.ClassTransient},
		{pgconn.ErrConnClosed, fault.ClassTransient}, {context.DeadlineExceeded, fault.ClassTransient},
		{context.Canceled, fault.ClassFatal}, {pgx.ErrNoRows, fault.ClassFatal}, {errors.New("what nobody thought of"), fault.ClassFatal},
		{fault.Poison(errors.New("x")), fault.ClassPoison},
	} {
		safe := postgres.Safe(c.err)
		if got := fault.ClassOf(safe); got != c.class || !errors.Is(safe, c.err) {
			t.Errorf("%v: %s, want %s; %v", c.err, got, c.class, safe)
		}
	}
}

// What the server and the driver really say, with a value in it.
func TestSafeOnRealErrors(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
		CREATE TABLE t (id int PRIMARY KEY, name varchar(5) CHECK (name <> 'bad'), n int, m mail, p int REFERENCES t);
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n = 99 THEN EXECUTE 'SELEC ' || quote_literal('`+secret+`'); END IF;
			IF NEW.n = 98 THEN RAISE EXCEPTION 'no %', '`+secret+`' USING ERRCODE = '42601'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse(); INSERT INTO t (id, name) VALUES (1, 'a')`)
	for sql, state := range map[string]string{
		`INSERT INTO t (id) VALUES (1)`:                            "23505",
		`INSERT INTO t (id, name) VALUES (2, '` + secret + `')`:    "22001",
		`INSERT INTO t (id, n) VALUES (2, '` + secret + `')`:       "22P02",
		`INSERT INTO t (id, m) VALUES (2, '` + secret + `')`:       "23514",
		`INSERT INTO t (id, p) VALUES (2, 4711)`:                   "23503",
		`INSERT INTO t (id, name) VALUES (NULL, 'x')`:              "23502",
		`INSERT INTO t (id, n) VALUES (2, 99)`:                     "42601",
		`INSERT INTO t (id, n) VALUES (2, 98)`:                     "42601",
		`SELECT ('{"a": "` + secret + `"}'::jsonb ->> 'a')::int`:   "22P02",
		`SELECT to_date('` + secret + `', 'YYYY')`:                 "22007",
		`SELECT '` + secret + `'::text::xml IS DOCUMENT AND 1/0>0`: "22012",
	} {
		_, err := conn.Exec(t.Context(), sql)
		safe := postgres.Safe(err)
		if safe == nil || strings.Contains(safe.Error(), secret) || strings.Contains(safe.Error(), "4711") || postgres.SQLState(safe) != state {
			t.Errorf("%s: %v (%s)", sql, safe, postgres.SQLState(safe))
		}
	}
	var n int
	for name, err := range map[string]error{
		"scan":   conn.QueryRow(t.Context(), `SELECT $1::text`, secret).Scan(&n),
		"encode": conn.QueryRow(t.Context(), `SELECT $1::int`, secret).Scan(&n),
	} {
		if safe := postgres.Safe(err); safe == nil || strings.Contains(safe.Error(), secret) {
			t.Errorf("%s: %v", name, safe)
		}
	}
	if _, err := conn.Exec(t.Context(), `SELECT * FROM nowhere`); !strings.Contains(postgres.Safe(err).Error(), `"nowhere" does not exist`) {
		t.Errorf("our own mistake lost its text: %v", postgres.Safe(err))
	}
}
