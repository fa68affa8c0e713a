package reader

import (
	"errors"
	"fmt"
	"strings"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgsource"
	"segue/pkg/table"
)

// SchemaError says that a table is not what it was, and that the reader stopped in front of the first row that shows it.
type SchemaError struct {
	Table table.Name
	// At is the transaction of that row; zero where the change was found in the catalog.
	At      change.Position
	Changes []table.Difference
	other   []string // what the log alone tells
}

func (e *SchemaError) Error() string {
	texts := make([]string, len(e.Changes))
	for i, c := range e.Changes {
		texts[i] = c.String()
	}
	if len(texts) == 0 {
		texts = e.other
	}
	where := ""
	if !e.At.Zero() {
		where = " at " + e.At.String()
	}
	return fmt.Sprintf("schema of %s changed%s: %s; stopped before the first row that has it, no data is at risk", e.Table, where, strings.Join(texts, "; "))
}

// schemaError is for a table that was there when this life began and is not any more.
func schemaError(s *pgsource.SchemaChange, at change.Position) error {
	return &SchemaError{Table: s.Name(), At: at, other: s.Differences}
}

// anew ends a life so that the next one reads the tables again.
func anew(tables []table.Name) error {
	names := make([]string, len(tables))
	for i, n := range tables {
		names[i] = n.String()
	}
	return fault.Transient(fmt.Errorf("rows of an older shape of %s do not hold all that is taken: it is read again from the start", strings.Join(names, ", ")))
}

// shapeBehind says that the log still has rows of a shape that the table had before this life began: it was changed while nobody read.
func shapeBehind(s *pgsource.SchemaChange, at change.Position, slot string) error {
	return fault.Fatal(
		fmt.Errorf("%s was changed while the reader was behind: rows up to %s are of the former shape: %s; no data is at risk",
			s.Name(), at, strings.Join(s.Differences, "; ")),
		"undo the change if that is possible and run again; else give these rows up and read all tables again as a new history: "+
			"SELECT pg_drop_replication_slot('"+slot+"') on the source, then segue run reader --new-history (or run all)")
}

// slotAhead says that the source no longer has changes that no frontier holds.
func slotAhead(slot string, confirmed, frontier uint64) error {
	return fault.Fatal(
		fmt.Errorf("slot %s was confirmed up to %s, the last frontier in Kafka only up to %s: the changes between are in neither, data is at risk",
			slot, pgsource.LSN(confirmed), pgsource.LSN(frontier)),
		"the source is whole; read all tables again as a new history: segue run reader --new-history (or run all)")
}

// slotNew says that there is no slot that continues what Kafka holds.
func slotNew(slot string, at change.Position) error {
	return fault.Fatal(
		fmt.Errorf("slot %s had been dropped (or this is another server), but Kafka holds frontiers up to %s: changes since then are in no stream, data is at risk",
			slot, at),
		"check the source's URL; if it is right, read all tables again as a new history: segue run reader --new-history (or run all)")
}

// otherSource says that the server is not the one that the frontiers tell of.
func otherSource(was, is string) error {
	return fault.Fatal(
		fmt.Errorf("the source is %s, the frontiers in Kafka tell of %s (system/timeline/database): positions of two histories cannot be compared, data is at risk", is, was),
		"check the source's URL: nothing was changed there; if it is right (the database was moved or restored by a dump), read all tables again as a new history: segue run reader --new-history (or run all)")
}

// formerPrimary says that the server missed a promotion that segue has seen.
func formerPrimary(is, was int32) error {
	return fault.Fatal(
		fmt.Errorf("the source is on timeline %d, Kafka holds changes of timeline %d: this is a former primary, or one that was put back to an earlier time; nothing was read from it or changed there", is, was),
		"no data is at risk as long as nobody writes to it: let source.postgres name the present primary, or list all hosts of the cluster (postgres://…@one,two/…); "+
			"if this server is the source from now on, read all tables again as a new history: segue run reader --new-history (or run all)")
}

// otherBranch says that two servers were promoted apart.
func otherBranch(was, is string) error {
	return fault.Fatal(
		fmt.Errorf("the source is %s, the frontiers in Kafka tell of %s (system/timeline@fork/database): its timeline does not come from that one, data is at risk", is, was),
		"let source.postgres name the primary that the others follow; if it is this one, read all tables again as a new history: segue run reader --new-history (or run all)")
}

// lostTail says that a promoted standby does not have all that Kafka has.
func lostTail(timeline int32, fork, confirmed uint64) error {
	return fault.Fatal(
		fmt.Errorf("the source was promoted to timeline %d at %s, but Kafka holds changes up to %s: the former primary committed them and the new one never got them; data is at risk, the target may hold rows that the source does not have",
			timeline, pgsource.LSN(fork), pgsource.LSN(confirmed)),
		"decide which is right; to follow the new primary read all tables again as a new history: segue run reader --new-history (or run all), then remove the rows that only the target has: segue resync --table '*.*' --differences; "+
			"to keep it from happening again set synchronized_standby_slots on the primary (PostgreSQL 17 and later)")
}

// slotNotPromoted says that the new primary has no copy of the slot.
func slotNotPromoted(slot string, timeline int32, version int, at change.Position) error {
	why := "it was not synchronized in time (sync_replication_slots on the standby, failover on the slot)"
	if version < 170000 {
		why = "before PostgreSQL 17 slots do not follow a failover"
	}
	return fault.Fatal(
		fmt.Errorf("a standby of the source was promoted (timeline %d), and slot %s is not on it: %s; Kafka holds frontiers up to %s, changes since then are in no stream, data is at risk",
			timeline, slot, why, at),
		"the source is whole; read all tables again as a new history: segue run reader --new-history (or run all)")
}

// sourceBehind says that the source's log ends before what was read of it: a copy of the server from an earlier time. What it writes from here
// on lies at positions that Kafka holds already, and would be taken for known.
func sourceBehind(end, frontier uint64) error {
	return fault.Fatal(
		fmt.Errorf("the source's log ends at %s, the last frontier in Kafka confirms it up to %s: the source was put back to an earlier time, data is at risk",
			pgsource.LSN(end), pgsource.LSN(frontier)),
		"check the source's URL; after a restore, read all tables again as a new history: segue run reader --new-history (or run all)")
}

// unpublished says that the stream leaves changes out without a word.
func unpublished(publication string, tables []table.Name) error {
	names := make([]string, len(tables))
	for i, n := range tables {
		names[i] = n.String()
	}
	return fault.Fatal(
		fmt.Errorf("publication %s does not publish all of %s any more (it was altered, or a table was dropped and made again): what changed there meanwhile is in no stream, data is at risk",
			publication, strings.Join(names, ", ")),
		"the source is whole; read all tables again as a new history: segue run reader --new-history (or run all)")
}

// partitionGone says that rows vanished of which the log tells nothing.
func partitionGone(root, leaf table.Name, what string) error {
	return fault.Fatal(
		fmt.Errorf("partition %s of %s was %s: PostgreSQL's log does not tell of its rows, the target may keep rows that the source lost", leaf, root, what),
		"run again to go on (a partition with a new file is read again), then remove what the target has too many: segue resync --table "+shell(root))
}

// unusable collects what keeps tables from being followed.
func unusable(tables []*table.Table, restricted []table.Name) error {
	var errs []error
	for _, t := range tables {
		switch {
		case t.Identity == table.IdentityNothing:
			errs = append(errs, fmt.Errorf("table %s has replica identity nothing, its updates and deletes cannot be followed: run ALTER TABLE %s REPLICA IDENTITY DEFAULT (with a primary key) or … USING INDEX",
				t.Name, t.Name.SQL()))
		case t.Keyless() && t.Identity != table.IdentityFull:
			errs = append(errs, fmt.Errorf("table %s has no key that identifies a row: run ALTER TABLE %s ADD PRIMARY KEY (…), or create a unique index over NOT NULL columns and run ALTER TABLE %s REPLICA IDENTITY USING INDEX …, "+
				"or, if equal rows are meant to be there, run ALTER TABLE %s REPLICA IDENTITY FULL", t.Name, t.Name.SQL(), t.Name.SQL(), t.Name.SQL()))
		case t.Keyless() && t.Partitioned:
			errs = append(errs, fmt.Errorf("table %s is partitioned and has no key: the log does not tell which rows a partition takes away: run ALTER TABLE %s ADD PRIMARY KEY (…), or leave it out",
				t.Name, t.Name.SQL()))
		}
	}
	for _, n := range restricted {
		errs = append(errs, fmt.Errorf("row-level security hides rows of %s from this role: run ALTER ROLE … BYPASSRLS, or connect as the table's owner", n))
	}
	if len(errs) == 0 {
		return nil
	}
	return fault.Fatal(errors.Join(errs...), "no data is at risk: mend the tables, then run again")
}
