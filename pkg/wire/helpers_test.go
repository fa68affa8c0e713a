package wire

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/linkedin/goavro/v2"

	"segue/pkg/change"
	"segue/pkg/table"
)

// memory is a registry in memory.
type memory struct {
	mu     sync.Mutex
	texts  []string // ids count from 1
	asked  int
	broken error
}

func (m *memory) ID(_ context.Context, _, schema string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, text := range m.texts {
		if text == schema {
			return i + 1, nil
		}
	}
	m.texts = append(m.texts, schema)
	return len(m.texts), nil
}

func (m *memory) Schema(_ context.Context, id int) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.broken != nil {
		return "", m.broken
	}
	if id < 1 || id > len(m.texts) {
		return "", fmt.Errorf("no schema %d", id)
	}
	return m.texts[id-1], nil
}

// users is a table with a column of every kind, and names that Avro does not take.
func users() *table.Table {
	return &table.Table{
		OID: 16400, Name: table.Name{Schema: "public", Table: "users"},
		Columns: []table.Column{
			{Name: "id", Type: "bigint", Base: "bigint", OID: 20, Mod: -1, NotNull: true},
			{Name: "name", Type: "character varying(80)", Base: "character varying", OID: 1043, Mod: 84},
			{Name: "age", Type: "smallint", Base: "smallint", OID: 21, Mod: -1},
			{Name: "größe in cm", Type: "numeric(5,2)", Base: "numeric", OID: 1700, Mod: 327686},
			{Name: "active", Type: "boolean", Base: "boolean", OID: 16, Mod: -1, NotNull: true},
			{Name: "score", Type: "double precision", Base: "double precision", OID: 701, Mod: -1},
			{Name: "ratio", Type: "real", Base: "real", OID: 700, Mod: -1},
			{Name: "photo", Type: "bytea", Base: "bytea", OID: 17, Mod: -1},
			{Name: "region", Type: "public.region", Base: "integer", OID: 16390, Mod: -1},
			{Name: "tags", Type: "text[]", Base: "text[]", OID: 1009, Mod: -1},
		},
		Key: []int{8, 0}, Identity: table.IdentityDefault,
	}
}

var here = Source{Migration: "shop", DB: "legacy", ServerVersion: "15.18", Version: "0.1.0"}

func rawCodec(t testing.TB, reg Registry, shape *table.Table, s Source) *Raw {
	t.Helper()
	r, err := NewRaw(t.Context(), reg, "shop.raw.public.users", shape, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mappedCodec(t testing.TB) *Mapped {
	t.Helper()
	m, err := NewMapped(t.Context(), &memory{}, "shop.shaped.public.users", users().Name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// checker compiles a schema with goavro.
func checker(t testing.TB, schema string) *goavro.Codec {
	t.Helper()
	c, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatalf("goavro refuses the schema: %v\n%s", err, schema)
	}
	return c
}

// row makes a row of texts; "\x00" is NULL and "\x01" is absent.
func row(texts ...string) change.Row {
	r := make(change.Row, len(texts))
	for i, s := range texts {
		switch s {
		case "\x00":
			r[i] = change.Null()
		case "\x01":
			r[i] = change.Absent()
		default:
			r[i] = change.String(s)
		}
	}
	return r
}
