package mapping

import (
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// survey finds the columns that an expression reads, and what is not offered.
type survey struct {
	language *language
	x        *expression
	bare     int // how often $env stands there without a column's name
	err      error
}

// Visit implements ast.Visitor.
func (s *survey) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		s.column(n.Value)
		if n.Value == "$env" {
			s.bare++
		}
	case *ast.MemberNode:
		s.member(n)
	case *ast.VariableDeclaratorNode:
		if _, ok := s.language.kinds[n.Name]; ok {
			s.fail(n, "a variable must not have a column's name")
		}
	case *ast.BinaryNode:
		s.operator(n)
	case *ast.ConditionalNode:
		s.x.guarded = true
	case *ast.BuiltinNode:
		if !offered(n.Name) { // the engine cannot switch those with a predicate off
			s.fail(n, n.Name+" is not offered in a mapping")
		}
	case *ast.SliceNode, *ast.MapNode:
		s.fail(n, "slices and maps are not offered in a mapping; left(text, n) and right(text, n) cut texts")
	}
}

func (s *survey) column(name string) {
	k, ok := s.language.kinds[name]
	if !ok || slices.ContainsFunc(s.x.inputs, func(i input) bool { return i.name == name }) {
		return
	}
	s.x.inputs = append(s.x.inputs, input{name: name, kind: k})
}

func (s *survey) member(n *ast.MemberNode) {
	id, ok := n.Node.(*ast.IdentifierNode)
	if !ok || id.Value != "$env" {
		return
	}
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		s.fail(n, `write $env["column name"] with a fixed name`)
		return
	}
	s.bare--
	s.column(name.Value)
}

func (s *survey) operator(n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			s.fail(n, "the pattern behind matches must be a fixed text")
		}
	case "**", "^":
		s.fail(n, "powers are not offered in a mapping")
	case "??":
		s.x.guarded = true
	}
}

func (s *survey) fail(n ast.Node, message string) {
	if s.err == nil {
		s.err = &file.Error{Location: n.Location(), Message: message}
	}
}

const (
	truthName  = "condition of"
	negateName = "operator unary -"
)

// nullable puts this package's operators in the place of the engine's.
type nullable struct{}

// Visit implements ast.Visitor.
func (nullable) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			condition(&n.Left)
			condition(&n.Right)
		case "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in":
			call(node, operatorName(n.Operator), n.Left, n.Right)
		}
	case *ast.UnaryNode:
		switch n.Operator {
		case "-":
			call(node, negateName, n.Node)
		case "not", "!":
			condition(&n.Node)
		}
	case *ast.ConditionalNode:
		condition(&n.Cond)
	case *ast.BuiltinNode:
		// map's predicate may give anything, the others' give true or false.
		if p := predicate(n); p != nil && n.Name != "map" {
			condition(&p.Node)
		}
	}
}

func predicate(n *ast.BuiltinNode) *ast.PredicateNode {
	if len(n.Arguments) < 2 {
		return nil
	}
	p, _ := n.Arguments[1].(*ast.PredicateNode)
	return p
}

func condition(node *ast.Node) { call(node, truthName, *node) }

func call(node *ast.Node, name string, args ...ast.Node) {
	ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args})
}
