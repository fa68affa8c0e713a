package pgsource_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// source is a database with a publication and a slot.
type source struct {
	t     *testing.T
	url   string
	conn  *pgx.Conn
	setup pgsource.Setup
}

// newSource runs the statements, then sets up publication and slot for the tables, all in schema public.
func newSource(t *testing.T, ddl string, tables ...string) *source {
	t.Helper()
	s := &source{t: t, url: pgtest.Database(t)}
	s.conn = pgtest.Connect(t, s.url)
	s.exec(ddl)
	slot := s.conn.Config().Database
	s.setup = pgsource.Setup{Slot: slot, Publication: "Pub '" + slot + `" x`}
	for _, name := range tables {
		s.setup.Tables = append(s.setup.Tables, table.Name{Schema: "public", Table: name})
	}
	if _, err := pgsource.Ensure(t.Context(), s.conn, s.setup); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *source) exec(statements ...string) {
	s.t.Helper()
	pgtest.Exec(s.t, s.conn, statements...)
}

func (s *source) shapes() []*table.Table {
	s.t.Helper()
	shapes, err := postgres.Tables(s.t.Context(), s.conn, s.setup.Tables)
	if err != nil {
		s.t.Fatal(err)
	}
	return shapes
}

func (s *source) config() pgsource.StreamConfig {
	return pgsource.StreamConfig{URL: s.url, App: "segue test", Slot: s.setup.Slot, Publication: s.setup.Publication, Shapes: s.shapes()}
}

// open takes the slot, again until its former owner is gone.
func (s *source) open(cfg pgsource.StreamConfig) *pgsource.Stream {
	s.t.Helper()
	for {
		stream, err := pgsource.OpenStream(s.t.Context(), cfg)
		if postgres.SQLState(err) == "55006" {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(stream.Close)
		return stream
	}
}

// read renders everything up to a message that it writes itself, one line per event, without empty transactions, which PostgreSQL 14
// sends. visit may be nil.
func (s *source) read(stream *pgsource.Stream, visit func(pgsource.Event)) []string {
	s.t.Helper()
	if _, err := pgsource.Emit(s.t.Context(), s.conn, "test", []byte("end")); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var lines []string
	ended := false
	for {
		e, err := stream.Next(ctx)
		if err != nil {
			s.t.Fatalf("after %q: %v", lines, err)
		}
		if visit != nil {
			visit(e)
		}
		if e.Kind == pgsource.KindMessage && e.Message.Prefix == "test" && string(e.Message.Content) == "end" {
			ended = true
			continue
		}
		if e.Kind == pgsource.KindCommit && ended {
			return lines[:len(lines)-1] // without the begin of our own message
		}
		if n := len(lines); e.Kind == pgsource.KindCommit && lines[n-1] == "begin" {
			lines = lines[:n-1]
			continue
		}
		if line := render(e); line != "" {
			lines = append(lines, line)
		}
	}
}

func render(e pgsource.Event) string {
	switch e.Kind {
	case pgsource.KindBegin:
		return "begin"
	case pgsource.KindCommit:
		return "commit"
	case pgsource.KindChange:
		c := &e.Change
		return strings.TrimSpace(fmt.Sprintf("%s %s %s%s", c.Op, c.Table.Name.Table, renderRow(c.Table, "was", c.Before), renderRow(c.Table, "is", c.After)))
	case pgsource.KindTruncate:
		var names []string
		for _, t := range e.Truncate.Tables {
			names = append(names, t.Name.Table)
		}
		return fmt.Sprintf("truncate %s cascade=%v restart=%v", strings.Join(names, ","), e.Truncate.Cascade, e.Truncate.RestartIdentity)
	case pgsource.KindMessage:
		return fmt.Sprintf("message %s %q transactional=%v", e.Message.Prefix, e.Message.Content, e.Message.Transactional)
	case pgsource.KindSchema:
		return "schema " + e.Schema.Name().Table + ": " + strings.Join(e.Schema.Differences, "; ")
	case pgsource.KindOrigin:
		return "origin " + e.Origin.Name
	}
	return ""
}

func renderRow(t *table.Table, label string, row change.Row) string {
	if row == nil {
		return ""
	}
	if len(row) != len(t.Columns) {
		return fmt.Sprintf("%s(%d values for %d columns) ", label, len(row), len(t.Columns))
	}
	parts := make([]string, len(row))
	for i, v := range row {
		text := string(v.Bytes())
		switch {
		case v.IsAbsent():
			text = "~"
		case v.IsNull():
			text = "NULL"
		case len(text) > 40:
			text = fmt.Sprintf("%s…%d", text[:3], len(text))
		}
		parts[i] = text
	}
	return label + "(" + strings.Join(parts, ",") + ") "
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
