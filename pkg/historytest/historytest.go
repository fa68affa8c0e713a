// Package historytest makes random histories of a small shop: transactions over tables with foreign keys, key changes,
// swaps of keys, values stored out of line, savepoints that are rolled back, deletes and truncates. A model in memory follows every
// committed transaction, so that a test knows what both stores must hold without asking either (P1, P2). The same seed
// makes the same history.
package historytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Schema makes the tables, in a legacy store and in a target alike. The names want quotes on purpose.
const Schema = `
CREATE TABLE public.parent (id bigint PRIMARY KEY, name text, big text);
CREATE TABLE public."Child Row" (id bigint PRIMARY KEY, parent_id bigint NOT NULL REFERENCES public.parent, amount numeric(12,2), big text);
CREATE TABLE public.node (kind text, n integer, up_kind text, up_n integer, note text, PRIMARY KEY (kind, n),
    FOREIGN KEY (up_kind, up_n) REFERENCES public.node);
CREATE TABLE public.event (id bigint PRIMARY KEY, body text);
CREATE TABLE public.lot (a integer, b text, j json, big text);
ALTER TABLE public.lot REPLICA IDENTITY FULL;`

// Tables are the tables of Schema, as SQL names.
func Tables() []string {
	return []string{"public.parent", `public."Child Row"`, "public.node", "public.event", "public.lot"}
}

type parent struct{ name, big string }

type child struct {
	parent      int64
	amount, big string
}

type nodeKey struct {
	kind string
	n    int32
}

type node struct {
	up   *nodeKey
	note string
}

// lot is a row of the table without key, as many times as it is there.
type lot struct{ a, b, j, big string }

// state is the model: what the tables hold.
type state struct {
	parents  map[int64]parent
	children map[int64]child
	nodes    map[nodeKey]node
	events   map[int64]string
	lots     []lot
}

// History is a random history under way. It is for one goroutine.
type History struct {
	rnd   *rand.Rand
	next  int64
	now   state
	draft state // of the open transaction
	// Statements holds the open or last transaction's, for a test's message.
	Statements []string
	// Transactions counts the committed ones.
	Transactions int
}

// New starts the history of a seed over empty tables.
func New(seed uint64) *History {
	return &History{rnd: rand.New(rand.NewPCG(seed, 7)), now: state{
		parents: map[int64]parent{}, children: map[int64]child{}, nodes: map[nodeKey]node{}, events: map[int64]string{},
	}}
}

// Step runs one random transaction on the legacy store and follows it in the model.
func (h *History) Step(ctx context.Context, conn *pgx.Conn) error {
	h.draft, h.Statements = h.now.clone(), nil
	for range 1 + h.rnd.IntN(6) {
		h.operation()
	}
	rollback := h.rnd.IntN(12) == 0
	end := "COMMIT"
	if rollback {
		end = "ROLLBACK"
	}
	sql := "BEGIN;\n" + strings.Join(h.Statements, ";\n") + ";\n" + end
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	if !rollback {
		h.now = h.draft
		h.Transactions++
	}
	return nil
}

func (h *History) do(format string, args ...any) {
	h.Statements = append(h.Statements, fmt.Sprintf(format, args...))
}

// operation adds one statement, sometimes inside a savepoint that is rolled back.
func (h *History) operation() {
	if h.rnd.IntN(10) == 0 {
		keep := h.draft.clone()
		h.do("SAVEPOINT s")
		h.change()
		h.do("ROLLBACK TO s")
		h.draft = keep
		return
	}
	if h.rnd.IntN(8) == 0 {
		h.do("SAVEPOINT s")
		h.change()
		h.do("RELEASE s")
		return
	}
	h.change()
}

func (h *History) change() {
	switch h.rnd.IntN(23) {
	case 0, 1, 2:
		h.insertParent()
	case 3, 4, 5, 6:
		h.insertChild()
	case 7, 8:
		h.updateParent()
	case 9, 10, 11:
		h.updateChild()
	case 12:
		h.moveChildKey()
	case 13:
		h.swapKeys()
	case 14:
		h.deleteChild()
	case 15:
		h.deleteParent()
	case 16, 17:
		h.changeNodes()
	case 18:
		h.changeEvents()
	case 19, 20, 21:
		h.changeLots()
	default:
		h.moveParentKey()
	}
}

func (s state) clone() state {
	c := state{parents: map[int64]parent{}, children: map[int64]child{}, nodes: map[nodeKey]node{}, events: map[int64]string{}}
	for k, v := range s.parents {
		c.parents[k] = v
	}
	for k, v := range s.children {
		c.children[k] = v
	}
	for k, v := range s.nodes {
		c.nodes[k] = v
	}
	for k, v := range s.events {
		c.events[k] = v
	}
	c.lots = slices.Clone(s.lots)
	return c
}

// Rows is what a table holds, a line a row, sorted: as the model has it.
func (h *History) Rows(table string) []string {
	var out []string
	switch table {
	case "public.parent":
		for id, p := range h.now.parents {
			out = append(out, fmt.Sprintf("%d|%s|%s", id, p.name, p.big))
		}
	case `public."Child Row"`:
		for id, c := range h.now.children {
			out = append(out, fmt.Sprintf("%d|%d|%s|%s", id, c.parent, c.amount, c.big))
		}
	case "public.node":
		for k, n := range h.now.nodes {
			up := "|"
			if n.up != nil {
				up = fmt.Sprintf("%s|%d", n.up.kind, n.up.n)
			}
			out = append(out, fmt.Sprintf("%s|%d|%s|%s", k.kind, k.n, up, n.note))
		}
	case "public.event":
		for id, body := range h.now.events {
			out = append(out, fmt.Sprintf("%d|%s", id, body))
		}
	case "public.lot":
		for _, l := range h.now.lots {
			out = append(out, l.a+"|"+l.b+"|"+l.j+"|"+l.big)
		}
	}
	slices.Sort(out)
	return out
}

// Stored is what a table holds on a server, in the form of Rows. Out-of-line texts are long: both shorten nothing.
func Stored(ctx context.Context, conn *pgx.Conn, table string) ([]string, error) {
	rows, err := conn.Query(ctx, "SELECT * FROM "+table, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var line []string
		for _, v := range rows.RawValues() {
			line = append(line, string(v))
		}
		out = append(out, strings.Join(line, "|"))
	}
	slices.Sort(out)
	return out, rows.Err()
}
