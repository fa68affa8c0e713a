package pgdigest

import (
	"fmt"
	"strings"

	"segue/pkg/table"
)

// Shape says which columns of a table are compared, and which of them are the key.
type Shape struct {
	Table   *table.Table
	Columns []int // ordinals in Table.Columns, in the order of comparison
	Key     []int // indices into Columns
	// Lots says that equal rows may be there several times: a row's key is then the hash of all its columns, and the sum of a key counts how
	// often it is there.
	Lots bool
}

// Dialect is how one server is asked. Texts are hashed in UTF-8 whatever the database's encoding is.
type Dialect struct{ UTF8 bool }

// maxArguments is how many arguments a function takes (FUNC_MAX_ARGS).
const maxArguments = 100

// canonical is the expression for the canonical text of the columns of the inner query with these numbers.
func (d Dialect) canonical(columns []int) string {
	if !d.UTF8 {
		return canonicalBytes(columns)
	}
	const perColumn = 4
	var groups []string
	for len(columns) > 0 {
		n := min(len(columns), maxArguments/perColumn)
		args := make([]string, n)
		for i, c := range columns[:n] {
			// A NULL has no length and no text: concat leaves both out.
			args[i] = fmt.Sprintf("octet_length(c%d), ':', c%d, ';'", c, c)
		}
		groups = append(groups, "concat("+strings.Join(args, ", ")+")")
		columns = columns[n:]
	}
	if len(groups) == 0 {
		return "''"
	}
	return strings.Join(groups, " || ")
}

// canonicalBytes is the same for a database that is not in UTF-8: as bytes, converted value by value.
func canonicalBytes(columns []int) string {
	if len(columns) == 0 {
		return `''::bytea`
	}
	parts := make([]string, len(columns))
	for i, c := range columns {
		text := fmt.Sprintf("convert_to(c%d, 'UTF8')", c)
		parts[i] = fmt.Sprintf(`coalesce(convert_to(octet_length(%s)::text || ':', 'UTF8') || %s || ';'::bytea, ':;'::bytea)`, text, text)
	}
	return strings.Join(parts, " || ")
}

// keyText is the canonical key k as text.
func (d Dialect) keyText(s Shape) string {
	if d.UTF8 || s.Lots {
		return "k"
	}
	return "convert_from(k, 'UTF8')"
}

// output is the text of a column as its output function writes it, NULL for NULL. (IS NULL would call a composite of NULLs one.)
func output(c *table.Column) string {
	name := "t." + table.Quote(c.Name)
	switch {
	case c.Base == "text" || c.Base == "character varying":
		return name + "::text"
	case c.NotNull:
		return "concat(" + name + ")"
	}
	return "CASE WHEN " + name + " IS DISTINCT FROM NULL THEN concat(" + name + ") END"
}

// rows is the inner query: the compared columns' texts as c0, c1, … OFFSET 0 keeps the planner from writing each text's
// expression into every place that uses it, which would compute it twice.
func (s Shape) rows(from string) string {
	list := make([]string, len(s.Columns))
	for i, o := range s.Columns {
		list[i] = fmt.Sprintf("%s AS c%d", output(&s.Table.Columns[o]), i)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + from + " OFFSET 0"
}

// hashed has a row's canonical key k and the hex of its hash h.
func (d Dialect) hashed(s Shape, from string) string {
	all := make([]int, len(s.Columns))
	for i := range all {
		all[i] = i
	}
	if s.Lots {
		return "SELECT h AS k, h FROM (SELECT md5(" + d.canonical(all) + ") AS h FROM (" + s.rows(from) + ") r OFFSET 0) l"
	}
	return "SELECT " + d.canonical(s.Key) + " AS k, md5(" + d.canonical(all) + ") AS h FROM (" + s.rows(from) + ") r OFFSET 0"
}

// bucketed adds the bucket b; the first parameter is the number of buckets less one.
func (d Dialect) bucketed(s Shape, from string) string {
	return "SELECT k, h, ('x' || substr(md5(k), 1, 8))::bit(32)::bigint & $1::bigint AS b FROM (" + d.hashed(s, from) + ") q OFFSET 0"
}

func (d Dialect) sumsSQL(s Shape, from string) string {
	return "SELECT b, count(*), sum(('x' || substr(h, 1, 16))::bit(64)::bigint)::text, sum(('x' || substr(h, 17, 16))::bit(64)::bigint)::text" +
		" FROM (" + d.bucketed(s, from) + ") d GROUP BY b"
}

func (d Dialect) listSQL(s Shape, from string) string {
	return "SELECT " + d.keyText(s) + ", h FROM (" + d.bucketed(s, from) + ") d WHERE b = ANY ($2::bigint[])"
}

func (d Dialect) hashesSQL(s Shape, from string) string {
	return "SELECT " + d.keyText(s) + ", h FROM (" + d.hashed(s, from) + ") d"
}

// Place is where rows are read: a heap, a piece of one, or a table by keys.
type Place struct {
	from string
	args []any
}

// everything is a whole table, with its partitions, without tables that inherit from it.
func everything(t *table.Table) string {
	if t.Partitioned {
		return t.Name.SQL() + " t"
	}
	return "ONLY " + t.Name.SQL() + " t"
}

// Everything is the whole table.
func Everything(t *table.Table) Place { return Place{from: everything(t)} }

// Blocks is a piece of a heap: the blocks from first up to last, or to the heap's end where last is 0.
func Blocks(heap table.Name, first, last uint32) Place {
	from := fmt.Sprintf("ONLY %s t WHERE t.ctid >= '(%d,0)'", heap.SQL(), first)
	if last > 0 {
		from += fmt.Sprintf(" AND t.ctid < '(%d,0)'", last)
	}
	return Place{from: from}
}

// ByKey is the rows whose columns by (ordinals) have the values of one of the keys. Keys may be doubled: a row is found once.
func ByKey(t *table.Table, by []int, keys [][]*string) Place {
	p := Place{}
	names, params, match := make([]string, len(by)), make([]string, len(by)), make([]string, len(by))
	for i, o := range by {
		column := &t.Columns[o]
		names[i] = fmt.Sprintf("k%d", i)
		match[i] = "t." + table.Quote(column.Name) + " " + t.Equal(o) + " " + column.Cast(fmt.Sprintf("w.k%d", i))
		params[i] = fmt.Sprintf("$%d::text[]", i+1)
		values := make([]*string, len(keys))
		for j := range keys {
			values[j] = keys[j][i]
		}
		p.args = append(p.args, values)
	}
	p.from = everything(t) + " WHERE EXISTS (SELECT FROM unnest(" + strings.Join(params, ", ") + ") AS w(" + strings.Join(names, ", ") +
		") WHERE " + strings.Join(match, " AND ") + ")"
	return p
}
