package mapping

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"segue/pkg/migration"
	"segue/pkg/table"
)

// check looks at the whole rule: keys, columns that nothing uses or feeds, nulls, types.
func (d *draft) check() {
	d.checkSourceKey()
	d.checkTargetKey()
	d.checkUnused()
	d.checkUnfed()
	for i := range d.target.Columns {
		if p, ok := d.fed[i]; ok {
			d.checkNull(i, p)
			d.checkType(i, p)
		}
	}
}

func (d *draft) checkSourceKey() {
	at, name := d.entry.From.At, d.source.Name
	switch {
	case d.source.Identity == table.IdentityNothing:
		d.mistake(at, "%s has replica identity nothing, so its updates and deletes cannot be followed: ALTER TABLE %s REPLICA IDENTITY DEFAULT", name, name.SQL())
	case d.source.Keyless() && d.source.Identity != table.IdentityFull:
		d.mistake(at, "%s has no key, so its updates and deletes name no row: ALTER TABLE %s ADD PRIMARY KEY (…), or ALTER TABLE %s REPLICA IDENTITY FULL, or exclude it",
			name, name.SQL(), name.SQL())
	case d.source.Keyless() && d.source.Partitioned:
		d.mistake(at, "%s is partitioned and has no key: the log does not tell which rows a partition takes away: ALTER TABLE %s ADD PRIMARY KEY (…), or exclude it", name, name.SQL())
	}
}

func (d *draft) checkTargetKey() {
	if d.source.Keyless() {
		d.checkKeylessTarget()
		return
	}
	at, name := place(d.entry.To.At, d.entry.From.At), d.target.Name
	if len(d.target.Key) == 0 {
		d.mistake(at, "%s on the target has no primary key and no unique index that is not deferrable, so its rows cannot be found again: ALTER TABLE %s ADD PRIMARY KEY (…)", name, name.SQL())
		return
	}
	copied, complete := map[int]bool{}, true
	for _, k := range d.target.Key {
		p, ok := d.fed[k]
		if !ok {
			complete = false
			d.keyUnfed(at, k)
			continue
		}
		d.checkIdentity(k, p)
		if p.kind == isCopy {
			copied[p.source] = true
		}
		if p.kind == isConstant && p.value.IsNull() {
			d.mistake(d.at[k], "%s.%s belongs to the target's key and must not be null", name, d.target.Columns[k].Name)
		}
	}
	lost := slices.DeleteFunc(slices.Clone(d.source.Key), func(s int) bool { return copied[s] })
	if complete && len(lost) > 0 {
		d.warn(place(d.at[d.target.Key[0]], at), "the key of %s does not hold %s.%s as it is: two source rows may become one target row; the later one wins, and deleting either removes it",
			name, d.source.Name, d.source.Columns[lost[0]].Name)
	}
}

func (d *draft) keyUnfed(at migration.Place, k int) {
	name := d.target.Columns[k].Name
	if d.broken[name] {
		return
	}
	d.mistake(at, "nothing feeds %s.%s, which belongs to the target's key: set it from the source's key, such as set: {%s: %s}",
		d.target.Name, name, name, d.keyExample())
}

func (d *draft) keyExample() string {
	if len(d.source.Key) == 0 {
		return "id"
	}
	return d.source.Columns[d.source.Key[0]].Name
}

// checkIdentity wants a target key that the source's log can always tell: a delete brings only the identity's columns.
func (d *draft) checkIdentity(k int, p *columnPlan) {
	if d.source.Identity == table.IdentityFull || len(d.source.Key) == 0 {
		return
	}
	for _, s := range p.reads() {
		if !d.source.IsKey(s) {
			d.mistake(d.at[k], "%s.%s belongs to the target's key but is made of %s.%s, which deletes on the source do not name: ALTER TABLE %s REPLICA IDENTITY FULL",
				d.target.Name, d.target.Columns[k].Name, d.source.Name, d.source.Columns[s].Name, d.source.Name.SQL())
			return
		}
	}
}

// checkUnused makes sure that no source column is lost by oversight.
func (d *draft) checkUnused() {
	if len(d.broken) > 0 {
		return // the expression that failed may be the one that uses it
	}
	for i := range d.source.Columns {
		col := &d.source.Columns[i]
		if d.used[i] || d.ignored[i] || col.Generated {
			continue
		}
		at := place(d.entry.Rest, d.entry.From.At)
		if d.spec.IgnoresSchema(d.entry) {
			d.warn(at, "nothing uses %s.%s: it is left behind, because on_schema_change is ignore", d.source.Name, col.Name)
			continue
		}
		if d.entry.Set != nil && d.entry.Rest.IsZero() {
			d.mistake(at, "nothing uses %s.%s: add it to set, or to ignore: [%s]", d.source.Name, col.Name, col.Name)
			continue
		}
		d.mistake(at, "%s has no column %s for %s.%s: set it elsewhere, or add ignore: [%s]%s",
			d.target.Name, col.Name, d.source.Name, col.Name, col.Name, migration.DidYouMean(col.Name, d.unfedNames()))
	}
}

func (d *draft) unfedNames() []string {
	var out []string
	for i := range d.target.Columns {
		if d.fed[i] == nil {
			out = append(out, d.target.Columns[i].Name)
		}
	}
	return out
}

func (d *draft) checkUnfed() {
	for i := range d.target.Columns {
		col := &d.target.Columns[i]
		if d.fed[i] != nil || !col.NotNull || col.Default || col.AlwaysIdentity || col.Generated || d.broken[col.Name] || (d.target.IsKey(i) && !d.source.Keyless()) {
			continue
		}
		d.mistake(place(d.entry.To.At, d.entry.From.At), "nothing feeds %s.%s, which must not be null and has no default: add it to set", d.target.Name, col.Name)
	}
}

func (d *draft) checkNull(i int, p *columnPlan) {
	col := &d.target.Columns[i]
	if !col.NotNull {
		return
	}
	switch p.kind {
	case isConstant:
		if p.value.IsNull() && (!d.target.IsKey(i) || d.source.Keyless()) {
			d.mistake(d.at[i], "%s.%s must not be null", d.target.Name, col.Name)
		}
	case isExpression:
		if p.expression.guarded {
			return
		}
		fallthrough
	case isCopy:
		for _, s := range p.reads() {
			if from := &d.source.Columns[s]; !from.NotNull {
				d.warn(d.at[i], "%s.%s must not be null, but %s.%s may be: such a row cannot be applied; write %s ?? … or leave such rows out with where",
					d.target.Name, col.Name, d.source.Name, from.Name, from.Name)
				return
			}
		}
	}
}

func (d *draft) checkType(i int, p *columnPlan) {
	col := &d.target.Columns[i]
	switch p.kind {
	case isCopy:
		from := &d.source.Columns[p.source]
		if doubt := doubtOf(from, col); doubt != "" {
			d.warn(d.at[i], "%s.%s (%s) into %s.%s (%s): %s", d.source.Name, from.Name, from.Type, d.target.Name, col.Name, col.Type, doubt)
		}
	case isExpression:
		if doubt := resultDoubt(p.expression.result, kindOf(col), isText(col)); doubt != "" {
			d.warn(d.at[i], "%s.%s (%s): %s", d.target.Name, col.Name, col.Type, doubt)
		}
	case isConstant:
		if !p.value.IsNull() && !kindOf(col).takes(string(p.value.Bytes())) {
			d.mistake(d.at[i], "the constant is no value of %s.%s (%s)", d.target.Name, col.Name, col.Type)
		}
	}
}

func resultDoubt(result reflect.Type, k kind, text bool) string {
	of := describe(result)
	switch {
	case result == nil || text || result == reflect.TypeOf(k.sample()):
		return ""
	case k == kindString:
		if of == "text" {
			return "" // a date, JSON and the like from text: PostgreSQL reads it
		}
	case (k == kindFloat || k == kindDecimal) && (of == "an integer" || of == "a number"):
		return ""
	}
	return fmt.Sprintf("the expression gives %s, which PostgreSQL may refuse there", of)
}

func isScalar(t reflect.Type) bool {
	if t == nil || t == reflect.TypeOf(Decimal{}) {
		return true
	}
	return slices.Contains([]reflect.Kind{reflect.String, reflect.Int, reflect.Float64, reflect.Bool, reflect.Interface}, t.Kind())
}

func mayBeBool(t reflect.Type) bool {
	return t == nil || t.Kind() == reflect.Bool || t.Kind() == reflect.Interface
}

// describe names a result's type for people.
func describe(t reflect.Type) string {
	switch {
	case t == nil:
		return "any value"
	case t == reflect.TypeOf(Decimal{}), t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Int:
		return "an integer"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a list"
}

var unknownName = regexp.MustCompile(`^unknown name (\S+)$`)

// suggest adds what may have been meant by a name that an expression does not know.
func (d *draft) suggest(message string) string {
	m := unknownName.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	names := columnNames(d.source)
	for _, f := range functions() {
		names = append(names, f.name)
	}
	return " (no column of " + d.source.Name.String() + ")" + migration.DidYouMean(m[1], names)
}
