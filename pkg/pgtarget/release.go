package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// LetGo ends what a failed Apply has left open, so that no lock is held while somebody waits for a better moment. Recover
// tells later what was lost by it. It is tried only: a connection that is gone holds nothing.
func (t *Target) LetGo(ctx context.Context) {
	t.noteLost()
	_ = t.Rollback(ctx)
}

// ReshapedError says that a target table is no longer what the mapping was made for.
type ReshapedError struct {
	Table table.Name
	What  string
}

func (e *ReshapedError) Error() string {
	return fmt.Sprintf("target table %s was altered while segue writes to it: %s", e.Table, e.What)
}

// Reshaped looks whether an error comes from a target table that was altered, and then returns one that says so; else cause. An altered
// column whose values still fit makes no error: the server makes its plans anew by itself.
func (t *Target) Reshaped(ctx context.Context, cause error) error {
	var told *ReshapedError
	if errors.As(cause, &told) || t.conn.IsClosed() || t.conn.PgConn().TxStatus() != 'I' {
		return cause
	}
	for _, tt := range t.targets {
		switch err := t.altered(ctx, tt, cause); {
		case err == nil:
		case fault.ClassOf(err) == fault.ClassFatal:
			return err
		default:
			return cause
		}
	}
	return cause
}

// altered is an error where a target table is no longer what the mapping was made for: altered, gone, or a view now.
func (t *Target) altered(ctx context.Context, tt *target, cause error) error {
	now, err := postgres.TargetTables(ctx, t.conn, []table.Name{tt.Table.Name})
	if err != nil {
		return err
	}
	if what := reshaped(tt.Table, now[0], tt.Columns); what != "" {
		return fault.Fatal(&ReshapedError{Table: tt.Table.Name, What: what},
			fmt.Sprintf("nothing behind the last commit was applied (%v); look whether segue.yaml still fits it (segue check), then start again with --accept-mapping; rows that are there stay as they are: segue resync reads the table again", cause))
	}
	return nil
}

// reshaped says what is different of the columns that are written, and of the key.
func reshaped(was, is *table.Table, written []int) string {
	find := func(name string) *table.Column {
		for i := range is.Columns {
			if is.Columns[i].Name == name {
				return &is.Columns[i]
			}
		}
		return nil
	}
	for _, i := range written {
		old := &was.Columns[i]
		c := find(old.Name)
		switch {
		case c == nil:
			return "column " + old.Name + " is gone"
		case c.Type != old.Type:
			return fmt.Sprintf("column %s is %s, the mapping was made for %s", old.Name, c.Type, old.Type)
		case c.Generated != old.Generated || c.AlwaysIdentity != old.AlwaysIdentity:
			return "column " + old.Name + " is generated in another way"
		}
	}
	for i := range is.Columns {
		if c := &is.Columns[i]; c.NotNull && !c.Default && !c.Generated && !slices.ContainsFunc(written, func(w int) bool { return was.Columns[w].Name == c.Name }) {
			return "column " + c.Name + " is NOT NULL without a default, and the mapping does not set it"
		}
	}
	key := func(t *table.Table) (names []string) {
		for _, k := range t.Key {
			names = append(names, t.Columns[k].Name)
		}
		slices.Sort(names)
		return names
	}
	if old, now := key(was), key(is); !slices.Equal(old, now) {
		return fmt.Sprintf("its key is %q, the mapping was made for %q", now, old)
	}
	return ""
}
