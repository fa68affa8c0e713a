// Package migration reads segue.yaml: the specification of one migration, and the names that everything which belongs to
// it bears (topics, slot, publication). It is core: what it needs of the world (variables, files) is handed in. It keeps
// the part of promise P1 that lies in the file: a key that is not understood is an error with its place, never ignored.
// Every mistake is reported at once, as Diagnostics. Connection strings are Secrets: nothing prints them (P10).
package migration

import (
	"cmp"
	"time"

	"segue/pkg/table"
)

// Spec is one migration: what is moved, from where, to where.
type Spec struct {
	Name    Name
	Source  Store
	Target  Target
	Kafka   Kafka
	Load    Load
	Protect Protect
	Park    Park
	// OnSchemaChange holds for the tables that say nothing of it.
	OnSchemaChange SchemaChange
	Tables         []Table

	file *file
}

// Store is one of the two databases.
type Store struct {
	Postgres Secret // a connection string; string(s.Postgres) where it is used
}

// Kafka says how the migration's topics are made.
type Kafka struct {
	// Partitions is how many lanes each table has; fixed for the migration's life.
	Partitions int
	// Replication is 0 where the file says nothing: see ReplicationOn.
	Replication int
	// Retention is how long records are kept behind the applied frontier.
	Retention time.Duration
	// Wire is the form of the records; fixed for the migration's life.
	Wire Wire
	// Compression is how batches of records are packed: lz4, zstd or none.
	Compression string
}

// Wire is the form in which records stand in Kafka.
type Wire string

// The forms: Avro with schemas in a registry, or raw topics as JSON that bears its schema, and no registry.
const (
	WireAvro Wire = "avro"
	WireJSON Wire = "json"
)

// The defaults of Kafka's settings.
const (
	DefaultPartitions = 4
	DefaultRetention  = 24 * time.Hour
	defaultReplicas   = 3

	DefaultCompression = "lz4"
)

// Park bounds how many rows may be set aside before the pipeline stops.
type Park struct {
	Limit    int // over all tables
	PerTable int
}

// DefaultParked is the default of both.
const DefaultParked = 10_000

// ReplicationOn is the replication factor on a cluster of so many brokers: what the file says, else three, or as many
// brokers as there are.
func (k Kafka) ReplicationOn(brokers int) int {
	if k.Replication > 0 {
		return k.Replication
	}
	return max(1, min(brokers, defaultReplicas))
}

// Table is one entry of tables: which source tables it selects and what becomes of their rows.
type Table struct {
	At      Place
	From    Pattern
	Exclude []Pattern
	// To is where the rows go; its '*' stands for what From's matched. Without To, a table keeps its name.
	To Pattern
	// Where is an expression that a source row must fulfil to be on the target; empty: all rows.
	Where String
	// Set says what the target's columns hold. Nil: every column is copied by name.
	Set []Column
	// Rest is where `"*": "*"` stands in set: target columns that Set leaves out are copied from source columns of the same
	// name. The zero Place: it does not.
	Rest Place
	// Ignore lists the source columns that are left behind on purpose.
	Ignore []String
	// OnSchemaChange is "" where the specification's own holds.
	OnSchemaChange SchemaChange
}

// SchemaChange is what happens when a source table changes while it is migrated.
type SchemaChange string

// The choices. Whatever the mapping uses pauses in any case.
const (
	SchemaPause  SchemaChange = "pause"  // the reader stops in front of it, and says what to edit
	SchemaIgnore SchemaChange = "ignore" // goes on where only columns changed that nothing uses
)

// IgnoresSchema says whether changes of columns that nothing uses stop nothing in the tables of an entry.
func (s *Spec) IgnoresSchema(t *Table) bool {
	return cmp.Or(t.OnSchemaChange, s.OnSchemaChange) == SchemaIgnore
}

// Column is one entry of set.
type Column struct {
	Target String
	// Value is a source column's name or an expression; with Const the text itself.
	Value String
	// Const says that Value is a constant, Null that the constant is NULL.
	Const, Null bool
}

// Destination is the target table of a source table that t selects.
func (t *Table) Destination(source table.Name) table.Name {
	if t.To.IsZero() {
		return source
	}
	return t.To.fill(t.From, source)
}

// Selects says whether t takes the source table.
func (t *Table) Selects(source table.Name) bool {
	if !t.From.Match(source) {
		return false
	}
	for _, e := range t.Exclude {
		if e.Match(source) {
			return false
		}
	}
	return true
}
