package mapping

import (
	"errors"
	"slices"

	"github.com/expr-lang/expr/file"

	"segue/pkg/change"
	"segue/pkg/migration"
	"segue/pkg/table"
)

// compiler collects the findings of all rules.
type compiler struct {
	spec           *migration.Spec
	source, target map[table.Name]*table.Table
	targetNames    []string
	ignored        map[migration.Place]bool // places of ignore entries that named a column of some table
	found          migration.Diagnostics
}

func newCompiler(spec *migration.Spec, source, target []*table.Table) *compiler {
	c := &compiler{
		spec: spec, source: map[table.Name]*table.Table{}, target: map[table.Name]*table.Table{},
		ignored: map[migration.Place]bool{},
	}
	for _, t := range source {
		c.source[t.Name] = t
	}
	for _, t := range target {
		c.target[t.Name] = t
		c.targetNames = append(c.targetNames, t.Name.String())
	}
	return c
}

func (c *compiler) mistake(at migration.Place, format string, args ...any) {
	c.found = append(c.found, c.spec.Mistake(at, format, args...))
}

func (c *compiler) warn(at migration.Place, format string, args ...any) {
	c.found = append(c.found, c.spec.Warning(at, format, args...))
}

// draft is a rule in the making.
type draft struct {
	*compiler
	entry    *migration.Table
	source   *table.Table
	target   *table.Table
	language *language
	fed      map[int]*columnPlan     // target ordinal → what feeds it
	at       map[int]migration.Place // target ordinal → where that is said
	used     map[int]bool            // source ordinals that something reads
	ignored  map[int]bool            // source ordinals left behind on purpose
	broken   map[string]bool         // target columns whose entry has a mistake of its own
	where    *expression
}

// rule compiles the rule of one source table, nil where something is wrong with it.
func (c *compiler) rule(s Selected, index int) *Rule {
	entry := &c.spec.Tables[s.Entry]
	source := c.source[s.Source]
	target, ok := c.target[s.Target]
	if !ok {
		c.mistake(place(entry.To.At, entry.From.At), "the target has no table %s for the rows of %s (or this user may not see it): create it, or mend the name%s",
			s.Target, s.Source, migration.DidYouMean(s.Target.String(), c.targetNames))
		return nil
	}
	d := &draft{
		compiler: c, entry: entry, source: source, target: target, language: newLanguage(source),
		fed: map[int]*columnPlan{}, at: map[int]migration.Place{}, used: map[int]bool{}, ignored: map[int]bool{}, broken: map[string]bool{},
	}
	before := len(c.found)
	d.readIgnore()
	d.readSet()
	d.readWhere()
	d.copyByName()
	d.check()
	if c.found[before:].Err() != nil {
		return nil
	}
	return d.build(index)
}

func (d *draft) build(index int) *Rule {
	target := &change.Target{Table: d.target, SoleFeeder: true, Keyless: d.source.Keyless(), Source: d.source.Name}
	p := &plan{table: d.source, where: d.where, key: d.source.Key}
	for i := range d.target.Columns {
		if col, ok := d.fed[i]; ok {
			target.Columns = append(target.Columns, i)
			p.columns = append(p.columns, *col)
		}
	}
	target.Key = d.places(target)
	if d.where != nil {
		p.whereInputs = d.ordinals(d.where)
	}
	r := &Rule{index: index, source: d.source, target: target, plan: p, loose: d.spec.IgnoresSchema(d.entry)}
	p.rule = r
	target.Roams = !target.Keyless && p.roams()
	target.SourceKey = r.sourceKey()
	return r
}

// sourceKey finds the copies of the source key's columns in the target's key, nil where one has none.
func (r *Rule) sourceKey() []int {
	var out []int
	columns := r.Columns()
	for _, ordinal := range r.source.Key {
		at := slices.IndexFunc(r.target.Key, func(place int) bool { return columns[place].Source == ordinal && columns[place].SameType })
		if at < 0 {
			return nil
		}
		out = append(out, at)
	}
	return out
}

// places are the places of the key in a mapped row: all of them, where nothing less tells the source's rows apart.
func (d *draft) places(t *change.Target) []int {
	var out []int
	if t.Keyless {
		for i := range t.Columns {
			out = append(out, i)
		}
		return out
	}
	for _, k := range d.target.Key {
		out = append(out, slices.Index(t.Columns, k))
	}
	return out
}

func (d *draft) ordinals(x *expression) []int {
	out := make([]int, len(x.inputs))
	for i, in := range x.inputs {
		out[i] = d.source.Column(in.name)
	}
	return out
}

func (d *draft) readIgnore() {
	for _, name := range d.entry.Ignore {
		i := d.source.Column(name.Value)
		if i >= 0 {
			d.ignored[i] = true
			d.compiler.ignored[name.At] = true
		} else if _, exact := d.entry.From.Exact(); exact {
			d.compiler.ignored[name.At] = true
			tell := d.mistake
			if d.spec.IgnoresSchema(d.entry) {
				tell = d.warn // it may have been dropped
			}
			tell(name.At, "%s has no column %s: remove it from ignore%s", d.source.Name, name.Value, migration.DidYouMean(name.Value, columnNames(d.source)))
		}
	}
}

// unusedEntries reports what is written but has no effect.
func (c *compiler) unusedEntries(selected []Selected) {
	for i := range c.spec.Tables {
		t := &c.spec.Tables[i]
		if !slices.ContainsFunc(selected, func(s Selected) bool { return s.Entry == i }) {
			continue // nothing was selected: that has been said
		}
		for _, name := range t.Ignore {
			if !c.ignored[name.At] {
				c.warn(name.At, "no table that %s matches has a column %s: remove it from ignore", t.From.Text, name.Value)
			}
		}
	}
}

func (d *draft) readSet() {
	for _, col := range d.entry.Set {
		i := d.targetColumn(col.Target)
		if i < 0 {
			continue
		}
		p := d.columnPlan(col, i)
		if p == nil {
			d.broken[col.Target.Value] = true
			continue
		}
		d.feed(i, p, col.Target.At)
	}
}

func (d *draft) feed(i int, p *columnPlan, at migration.Place) {
	d.fed[i], d.at[i] = p, at
	for _, s := range p.reads() {
		d.used[s] = true
	}
}

// targetColumn finds a column that set names, -1 where it cannot be written.
func (d *draft) targetColumn(name migration.String) int {
	i := d.target.Column(name.Value)
	switch {
	case i < 0:
		d.mistake(name.At, "%s has no column %s%s", d.target.Name, name.Value, migration.DidYouMean(name.Value, columnNames(d.target)))
	case d.target.Columns[i].Generated:
		d.mistake(name.At, "%s.%s is a generated column, the target computes it: remove it from set", d.target.Name, name.Value)
		return -1
	}
	return i
}

func (d *draft) columnPlan(col migration.Column, target int) *columnPlan {
	switch {
	case col.Const && col.Null:
		return &columnPlan{kind: isConstant, value: change.Null()}
	case col.Const:
		return &columnPlan{kind: isConstant, value: change.String(col.Value.Value)}
	}
	if i := d.source.Column(col.Value.Value); i >= 0 {
		if d.source.Columns[i].Generated {
			d.generatedSource(col.Value.At, i)
			return nil
		}
		return &columnPlan{kind: isCopy, source: i}
	}
	x := d.compile(col.Value)
	if x == nil {
		return nil
	}
	if !isScalar(x.result) {
		d.mistake(col.Value.At, "the expression gives a list, but a column holds one value: take one with first, last or join")
		return nil
	}
	x.boolean = d.target.Columns[target].Base == boolean
	p := &columnPlan{kind: isExpression, expression: x, inputs: d.ordinals(x)}
	if len(x.inputs) > 0 {
		return p
	}
	v, _, err := new(Mapper).value(&plan{columns: []columnPlan{*p}}, nil, 0)
	if err != nil {
		d.mistake(col.Value.At, "the expression fails: %v", err)
		return nil
	}
	return &columnPlan{kind: isConstant, value: v}
}

func (d *draft) generatedSource(at migration.Place, i int) {
	d.mistake(at, "%s.%s is a generated column, which the source's log does not carry: write the expression that computes it",
		d.source.Name, d.source.Columns[i].Name)
}

func (d *draft) readWhere() {
	if d.entry.Where.Value == "" {
		return
	}
	x := d.compile(d.entry.Where)
	if x == nil {
		return
	}
	if !mayBeBool(x.result) {
		d.mistake(d.entry.Where.At, "where must be true or false, but this gives %s", describe(x.result))
		return
	}
	d.where = x
	for _, i := range d.ordinals(x) {
		d.used[i] = true
	}
}

// compile reports what is wrong with an expression at the character where it is.
func (d *draft) compile(text migration.String) *expression {
	x, err := d.language.compile(text.Value)
	if err == nil {
		return x
	}
	var at *file.Error
	if !errors.As(err, &at) {
		d.mistake(text.At, "%v", err)
		return nil
	}
	d.mistake(text.Inside(at.From), "in the expression: %s%s", at.Message, d.suggest(at.Message))
	return nil
}

// copyByName feeds target columns from source columns of the same name: all of them without set, the rest with "*".
func (d *draft) copyByName() {
	if d.entry.Set != nil && d.entry.Rest.IsZero() {
		return
	}
	at := place(d.entry.Rest, d.entry.From.At)
	for i := range d.source.Columns {
		name := d.source.Columns[i].Name
		t := d.target.Column(name)
		if d.ignored[i] || t < 0 || d.fed[t] != nil || d.broken[name] {
			continue
		}
		switch sourceIs, targetIs := d.source.Columns[i].Generated, d.target.Columns[t].Generated; {
		case targetIs && (sourceIs || d.used[i]):
		case targetIs:
			d.mistake(at, "%s.%s is a generated column, but %s.%s is not: add ignore: [%s]", d.target.Name, name, d.source.Name, name, name)
			d.ignored[i] = true
		case sourceIs:
			d.generatedSource(at, i)
		default:
			d.feed(t, &columnPlan{kind: isCopy, source: i}, at)
		}
	}
}

func columnNames(t *table.Table) []string {
	out := make([]string, len(t.Columns))
	for i := range t.Columns {
		out[i] = t.Columns[i].Name
	}
	return out
}
