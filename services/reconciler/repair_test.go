package reconciler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/frontier"
	"segue/pkg/pgtest"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

// State makes the rig's stream one that knows how far each heap was read.
func (s *subscription) State() frontier.State {
	st := frontier.NewState()
	if s.open != nil && *s.open != (table.Name{}) {
		st.Loads[*s.open] = frontier.Load{Table: *s.open, Leaf: *s.open}
	}
	return st
}

// A table of which rows are still on their way is neither proved equal nor different, even where it is: half a resync is no proof (P7).
func TestATableThatIsBeingReadIsUnknown(t *testing.T) {
	r := newRig(t, "  - from: public.*\n",
		[]string{`CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE b (id int PRIMARY KEY)`},
		[]string{`CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE b (id int PRIMARY KEY)`})
	pgtest.Exec(t, r.source, `INSERT INTO a SELECT generate_series(1, 100)`, `INSERT INTO b SELECT generate_series(1, 100)`)
	r.open = table.Name{Schema: "public", Table: "a"}
	report := r.compare(Config{Timeout: 5 * time.Second})
	if a, b := report.Tables[0], report.Tables[1]; a.Verdict != reconcile.Unknown || !strings.Contains(a.Reason, "public.a is being read") || b.Verdict != reconcile.Pass {
		t.Errorf("a: %s (%s), b: %s (%s)", a.Verdict, a.Reason, b.Verdict, b.Reason)
	}
	r.open = table.Name{}
	if report = r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Errorf("behind the load: %+v", report)
	}
}

// Rows that differ are named by the source's key, in its order, so that the reader can be asked for them; where the target's key is computed, their
// number is told.
func TestRowsThatDifferAreNamedForTheReader(t *testing.T) {
	r := newRig(t, "  - {from: public.pair, to: public.couple, set: {second: b, first: a, note: note}}\n  - {from: public.code, set: {id: '\"K\" + string(id)'}}\n",
		[]string{`CREATE TABLE pair (a text, b int, note text, PRIMARY KEY (b, a))`, `CREATE TABLE code (id int PRIMARY KEY)`},
		[]string{`CREATE TABLE couple (first text, second int, note text, PRIMARY KEY (first, second))`, `CREATE TABLE code (id text PRIMARY KEY)`})
	pgtest.Exec(t, r.source, `INSERT INTO pair SELECT 'x' || i, i, 'n' FROM generate_series(1, 300) i`, `INSERT INTO code SELECT generate_series(1, 50)`)
	if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Fatalf("%+v", report)
	}
	pgtest.Exec(t, r.target, `DELETE FROM couple WHERE second = 7`, `UPDATE couple SET note = 'm' WHERE second = 9`,
		`INSERT INTO couple SELECT 'y' || i, i, 'n' FROM generate_series(1001, 1040) i`, `INSERT INTO code VALUES ('K77')`)
	report := r.compare(Config{Keep: 1000})
	pair, code := report.Tables[0], report.Tables[1]
	if len(pair.Repair.Extra) != 40 || pair.Repair.Source.Table != "pair" || pair.Repair.Unnamed != 0 || len(pair.Examples) != maxExamples {
		t.Fatalf("%d extra rows of %s, %d unnamed, %d examples", len(pair.Repair.Extra), pair.Repair.Source, pair.Repair.Unnamed, len(pair.Examples))
	}
	if got := texts(pair.Repair.Other); !slices.Equal(got, []string{"7 x7", "9 x9"}) {
		t.Errorf("missing and different: %q", got)
	}
	if got, target := texts(pair.Repair.Extra), texts(pair.Repair.Target); !slices.Contains(got, "1001 y1001") || !slices.Contains(target, "y1001 1001") {
		t.Errorf("extra: %q, %q", got, target)
	}
	if code.Repair.Unnamed != 1 || len(code.Repair.Extra) != 0 {
		t.Errorf("a computed key: %+v", code.Repair)
	}
	if plain := r.compare(Config{}); len(plain.Tables[0].Repair.Extra) > maxExamples {
		t.Errorf("nobody asked for %d rows", len(plain.Tables[0].Repair.Extra))
	}
}

func texts(keys []change.Row) []string {
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s %s", k[0].Bytes(), k[1].Bytes()))
	}
	slices.Sort(out)
	return out
}
