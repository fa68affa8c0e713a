package mapping

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"segue/pkg/table"
)

// expression is one checked and compiled expression.
type expression struct {
	normal  string // as the engine prints it: spaces do not count
	program *vm.Program
	inputs  []input // the columns that it reads, each once
	boolean bool    // it feeds a boolean column
	result  reflect.Type
	// guarded: it has a way to give something else than null where an input is null.
	guarded bool
}

type input struct {
	name string
	kind kind
}

// language compiles expressions over the columns of one table.
type language struct {
	env   map[string]any // a sample of each column's type
	kinds map[string]kind
}

// newLanguage leaves generated columns out: the source's log does not carry them.
func newLanguage(t *table.Table) *language {
	l := &language{env: map[string]any{}, kinds: map[string]kind{}}
	for i := range t.Columns {
		if c := &t.Columns[i]; !c.Generated {
			l.kinds[c.Name] = kindOf(c)
			l.env[c.Name] = kindOf(c).sample()
		}
	}
	return l
}

// compile checks the text against the columns' types, then compiles it with operators that know null. The first pass
// is thrown away: what it infers of types would make the engine skip the tests for null.
func (l *language) compile(text string) (*expression, error) {
	typed, err := expr.Compile(text, l.typed()...)
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	x := &expression{normal: tree.Node.String(), result: typed.Node().Type()}
	survey := &survey{language: l, x: x}
	root := typed.Node()
	ast.Walk(&root, survey)
	if survey.bare > 0 {
		survey.fail(root, `$env stands only before a column's name: $env["column name"]`)
	}
	if survey.err != nil {
		return nil, survey.err
	}
	x.program, err = expr.Compile(text, l.untyped()...)
	return x, err
}

// The names below cannot be written in an expression.
func operatorName(op string) string { return "operator " + op }

// predicates lists the functions that are the engine's own; all others are this package's.
func predicates() []string {
	return []string{"all", "none", "any", "one", "filter", "map", "find", "findLast", "count"}
}

func offered(name string) bool { return slices.Contains(predicates(), name) }

func common() []expr.Option {
	options := []expr.Option{}
	for _, name := range builtin.Names {
		if !offered(name) {
			options = append(options, expr.DisableBuiltin(name))
		}
	}
	return options
}

func (l *language) typed() []expr.Option {
	options := append(common(), expr.Env(l.env), expr.Optimize(false))
	for _, f := range functions() {
		options = append(options, expr.Function(f.name, f.safe, f.forms...))
	}
	calculation := []any{
		new(func(Decimal, Decimal) Decimal), new(func(Decimal, int) Decimal), new(func(int, Decimal) Decimal),
		new(func(Decimal, float64) Decimal), new(func(float64, Decimal) Decimal),
	}
	comparison := []any{
		new(func(Decimal, Decimal) bool), new(func(Decimal, int) bool), new(func(int, Decimal) bool),
		new(func(Decimal, float64) bool), new(func(float64, Decimal) bool),
	}
	operators := binary()
	for op, call := range operators {
		forms := comparison
		switch op {
		case "+", "-", "*":
			forms = calculation
		case "/", "%", "in":
			continue
		}
		options = append(options, expr.Function(operatorName(op), two(call), forms...), expr.Operator(op, operatorName(op)))
	}
	return options
}

func (l *language) untyped() []expr.Option {
	options := append(common(), expr.Env(map[string]any{}), expr.AllowUndefinedVariables(), expr.Patch(nullable{}))
	for _, f := range functions() {
		options = append(options, expr.Function(f.name, f.safe))
	}
	for op, call := range binary() {
		options = append(options, expr.Function(operatorName(op), two(call)))
	}
	return append(options, expr.Function(truthName, one(truth)), expr.Function(negateName, one(negate)))
}

// safe is the function with null in, null out.
func (f function) safe(args ...any) (any, error) {
	if slices.Contains(args, nil) {
		return nil, nil //nolint:nilnil // nil is the value: null
	}
	return f.call(args)
}

func one(f func(any) (any, error)) func(...any) (any, error) {
	return func(args ...any) (any, error) { return f(args[0]) }
}

func two(f func(a, b any) (any, error)) func(...any) (any, error) {
	return func(args ...any) (any, error) { return f(args[0], args[1]) }
}

// safeReason keeps what an error of the engine says only where this package wrote the words: the engine's may quote values.
func safeReason(err error) error {
	var r reason
	if errors.As(err, &r) {
		return r
	}
	var at *file.Error
	if errors.As(err, &at) {
		return reason(fmt.Sprintf("the expression failed at its character %d (a null or a value of another type where it cannot be)", at.From+1))
	}
	return reason("the expression failed")
}
