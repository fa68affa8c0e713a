package mapping

import (
	"strconv"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"segue/pkg/table"
)

// Conditions are those parts of the rule's filter that the source itself can judge: plain tests of a column, joined by and. A row that fails one fails
// the filter, whatever the rest says; one that fulfils all may still fail it. So a first load reads fewer rows and gives the same ones.
//
// PostgreSQL takes more texts for equal than the filter does (trailing spaces of char(n), collations): that errs on the safe side for ==, and
// for nothing else, which is why != of texts is not among them.
func (r *Rule) Conditions() []table.Condition {
	if r.plan.where == nil {
		return nil
	}
	tree, err := parser.Parse(r.plan.where.normal)
	if err != nil {
		return nil // the engine prints what it reads; without it all rows are read
	}
	b := &bounds{table: r.source}
	b.conjunct(tree.Node)
	return b.found
}

// bounds collects the conditions of a filter.
type bounds struct {
	table *table.Table
	found []table.Condition
}

func (b *bounds) conjunct(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			b.conjunct(n.Left)
			b.conjunct(n.Right)
		case "==":
			b.equal(n.Left, n.Right)
		case "!=":
			b.notNull(n.Left, n.Right)
		case "in":
			b.oneOf(n.Left, n.Right)
		}
	case *ast.UnaryNode:
		if i := b.column(n.Node); (n.Operator == "not" || n.Operator == "!") && b.is(i, kindBool) {
			b.add(table.Condition{Column: i, Is: table.IsNotTrue})
		}
	default:
		if i := b.column(n); b.is(i, kindBool) {
			b.add(table.Condition{Column: i, Is: table.IsTrue})
		}
	}
}

func (b *bounds) add(c table.Condition) { b.found = append(b.found, c) }

// column is the ordinal of the column that a node names, -1 where it is something else.
func (b *bounds) column(n ast.Node) int {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return b.table.Column(n.Value)
	case *ast.MemberNode:
		id, ok := n.Node.(*ast.IdentifierNode)
		name, text := n.Property.(*ast.StringNode)
		if ok && text && id.Value == "$env" {
			return b.table.Column(name.Value)
		}
	}
	return -1
}

func (b *bounds) is(column int, k kind) bool {
	return column >= 0 && kindOf(&b.table.Columns[column]) == k
}

// sides sorts a comparison into its column and the other side, -1 where it is not of one column.
func (b *bounds) sides(left, right ast.Node) (int, ast.Node) {
	if i := b.column(left); i >= 0 {
		return i, right
	}
	return b.column(right), left
}

func (b *bounds) equal(left, right ast.Node) {
	i, other := b.sides(left, right)
	if i < 0 {
		return
	}
	if _, null := other.(*ast.NilNode); null {
		b.add(table.Condition{Column: i, Is: table.IsNull})
		return
	}
	if v, ok := b.literal(i, other); ok {
		b.add(table.Condition{Column: i, Is: table.OneOf, Values: []string{v}})
	}
}

func (b *bounds) notNull(left, right ast.Node) {
	i, other := b.sides(left, right)
	if _, null := other.(*ast.NilNode); null && i >= 0 {
		b.add(table.Condition{Column: i, Is: table.NotNull})
	}
}

func (b *bounds) oneOf(left, right ast.Node) {
	i := b.column(left)
	list, ok := right.(*ast.ArrayNode)
	if i < 0 || !ok || len(list.Nodes) == 0 {
		return
	}
	c := table.Condition{Column: i, Is: table.OneOf}
	for _, n := range list.Nodes {
		v, ok := b.literal(i, n)
		if !ok {
			return
		}
		c.Values = append(c.Values, v)
	}
	b.add(c)
}

// plain says that a text is one in every encoding that a database may have.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// literal is a fixed value as PostgreSQL's text, where every value of its kind is one of the column's type: a text that a type refuses would be an
// error of the server, not a row less.
func (b *bounds) literal(column int, n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		base := b.table.Columns[column].Base
		return n.Value, plain(n.Value) && (base == "text" || base == "character varying" || base == "character")
	case *ast.IntegerNode:
		return strconv.Itoa(n.Value), b.is(column, kindInt)
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value), b.is(column, kindBool)
	case *ast.UnaryNode:
		if v, ok := b.literal(column, n.Node); ok && n.Operator == "-" && b.is(column, kindInt) {
			return "-" + v, true
		}
	}
	return "", false
}
