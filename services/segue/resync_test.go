package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/historytest"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

// resynced is what `segue resync` came to.
type resynced struct {
	code         int
	stdout, talk string
	report       resyncReport
}

func (r resynced) String() string {
	return fmt.Sprintf("exit code %d\n%s\n%s", r.code, r.stdout, r.talk)
}

// resync runs the command to its end.
func (s *story) resync(ctx context.Context, args ...string) (r resynced) {
	s.t.Helper()
	var out bytes.Buffer
	var talk lockedBuffer
	p := s.process()
	p.stdout, p.stderr = &out, &talk
	r.code = p.run(ctx, append([]string{"resync", "-o", "json"}, args...))
	r.stdout, r.talk = out.String(), talk.String()
	if r.stdout != "" {
		if err := json.Unmarshal(out.Bytes(), &r.report); err != nil {
			s.t.Errorf("not JSON: %v\n%s", err, r)
		}
	}
	return r
}

// spoil makes the target wrong by hand, as its foreign keys allow it: rows are gone, others are different, and some were never on the source,
// which refer to each other.
func (s *story) spoil() {
	s.t.Helper()
	pgtest.Exec(s.t, s.admin,
		`DELETE FROM public."Child Row" WHERE id % 3 = 0`, `DELETE FROM public.event WHERE id % 2 = 0`, `UPDATE public.parent SET name = 'spoilt' WHERE id % 2 = 1`,
		`INSERT INTO public.parent SELECT -i, 'extra', '' FROM generate_series(100, 130) i`,
		`INSERT INTO public."Child Row" SELECT -i, -i, 1, '' FROM generate_series(100, 120) i`,
		`INSERT INTO public.node VALUES ('x', 1, NULL, NULL, 'extra'), ('x', 2, 'x', 1, 'extra'), ('x', 3, 'x', 2, 'extra')`,
		`UPDATE public.node SET note = 'spoilt' WHERE kind = 'a'`)
}

// TestPipelineResync spoils the target of random histories, and reads all tables again while the history goes on and everything is stopped and
// started again; both stores are held against the model. SEGUE_SEED runs one, SEGUE_RESYNCS sets how many.
func TestPipelineResync(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	n := 4
	if text := os.Getenv("SEGUE_RESYNCS"); text != "" {
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SEGUE_RESYNCS: %v", err)
		}
	}
	list := make([]uint64, n)
	for i := range list {
		list[i] = uint64(900_000 + i)
	}
	if os.Getenv("SEGUE_SEED") != "" {
		list = seeds(t)
	}
	for _, seed := range list {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			resyncHistory(t, servers.Addresses(), seed)
		})
	}
}

func resyncHistory(t *testing.T, a embedded.Addresses, seed uint64) {
	s := newStory(t, a, seed)
	s.steps(60)
	s.start()
	s.await("the load is over", `SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)`)
	s.spoil()
	var wg sync.WaitGroup
	var got resynced
	over := make(chan struct{})
	wg.Go(func() {
		defer close(over)
		got = s.resync(t.Context(), "--table", "public.*", "--timeout", "2m")
	})
	for range 3 {
		s.steps(10)
		s.trouble()
	}
	<-over
	wg.Wait()
	if got.code != exitFine || len(got.report.Tables) != len(historytest.Tables()) {
		s.fail("resync: %s", got)
	}
	removed := map[string]int64{}
	for _, table := range got.report.Tables {
		removed[table.Table] = table.Removed
	}
	if removed["public.parent"] != 31 || removed[`public."Child Row"`] != 21 || removed["public.node"] != 3 {
		s.fail("removed %v: %s", removed, got)
	}
	s.steps(5)
	s.settle()
	s.compare()
	s.stop()
	s.finish()
}

// The life of a resync as people meet it: names, keys, predicates, what is left undone, and what another one finds.
func TestPipelineResyncCommand(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	s := newStory(t, servers.Addresses(), 900_100)
	s.steps(200)
	s.start()
	s.await("the load is over", `SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)`)
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{nil, exitUsage, "--table"},
		{[]string{"--table", "public.parents"}, exitUsage, "did you mean public.parent?"},
		{[]string{"--table", "nosuch.*"}, exitUsage, "no such table"},
		{[]string{"--table", "public.*", "--keys", "1"}, exitUsage, "one table"},
		{[]string{"--table", "public.parent", "--keys", "seven"}, exitUsage, "no value of its column's type"},
		{[]string{"--table", "public.node", "--keys", "a,1"}, exitUsage, `["a", 1]`},
		{[]string{"--table", "public.parent", "--keys", "1", "--where", "true"}, exitUsage, "one of them"},
		{[]string{"--table", "public.parent", "--where", "id = (SELECT 1)"}, exitUsage, "SELECT"},
		{[]string{"--table", "public.parent", "--where", "nosuch = 1"}, exitUsage, "nosuch"},
		{[]string{"--table", "public.parent", "--where", "pg_sleep(1) IS NULL"}, exitUsage, "volatile"},
	} {
		if got := s.resync(t.Context(), c.args...); got.code != c.code || !strings.Contains(got.talk, c.say) {
			t.Errorf("%q: want exit code %d and %q: %s", c.args, c.code, c.say, got)
		}
	}

	s.spoil()
	pgtest.Exec(t, s.admin, `INSERT INTO public.event VALUES (-700007, 'extra'), (-700008, 'extra')`, `UPDATE public.node SET note = 'spoilt'`)
	// By key: exactly these rows.
	if got := s.resync(t.Context(), "--table", "public.event", "--keys", "-700007, 999999"); got.code != exitFine || got.report.Tables[0].Keys != 2 {
		t.Errorf("by key: %s", got)
	}
	if left := row(t, s.admin, `SELECT string_agg(id::text, ' ' ORDER BY id DESC) FROM public.event WHERE id < -700000`); left != "-700008" {
		t.Errorf("of the extra events %s are left, want -700008", left)
	}
	file := t.TempDir() + "/keys"
	if err := os.WriteFile(file, []byte("[\"x\", 3]\n\n{\"n\": 1, \"kind\": \"a\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.resync(t.Context(), "--table", "public.node", "--keys", "@"+file); got.code != exitFine {
		t.Errorf("by keys in a file: %s", got)
	}
	if left := row(t, s.admin, `SELECT count(*)::text FROM public.node WHERE kind = 'x'`); left != "2" {
		t.Errorf("%s extra nodes are left, want 2", left)
	}
	// Parents that children on the target refer to stay, and are told of: their delete would stop the applier.
	got := s.resync(t.Context(), "--table", "public.parent", "--where", "id > 0")
	if got.code != exitDiffer || !strings.Contains(got.stdout, `referred to by rows of public.\"Child Row\"`) || got.report.Tables[0].Removed != 10 {
		t.Errorf("a table that others refer to: %s", got)
	}
	// Only asked: the rows are read, what is too much stays.
	if got := s.resync(t.Context(), "--table", `public."Child Row"`, "--no-wait"); got.code != exitFine || got.report.Verdict != "" {
		t.Errorf("only asked: %s", got)
	}
	got = s.resync(t.Context(), "--table", "public.*")
	if got.code != exitFine || got.report.Verdict != "pass" || got.report.Seconds == 0 {
		t.Errorf("all of it: %s", got)
	}
	s.settle()
	s.compare()
	s.spoil()
	if got = s.resync(t.Context(), "--table", "public.*", "--differences"); got.code != exitFine || got.report.Tables[0].ReadAt != "" {
		t.Errorf("what differs alone: %s", got)
	}
	s.compare()

	// Nobody reads: the request waits, and whoever comes again waits for the same.
	s.stop()
	pgtest.Exec(t, s.admin, `UPDATE public.parent SET name = 'spoilt'`)
	if got := s.resync(t.Context(), "--table", "public.parent", "--timeout", "1s"); got.code != exitNotProved || !strings.Contains(got.stdout, "the time is over") {
		t.Errorf("while nobody reads: %s", got)
	}
	s.start()
	if got := s.resync(t.Context(), "--table", "public.parent"); got.code != exitFine {
		t.Errorf("once somebody reads: %s", got)
	}
	s.compare()
	s.stop()
	s.finish()
}

func TestKeysAsPeopleWriteThem(t *testing.T) {
	one := &table.Table{Name: table.Name{Schema: "public", Table: "one"}, Columns: []table.Column{{Name: "a"}, {Name: "id"}}, Key: []int{1}}
	two := &table.Table{Name: table.Name{Schema: "public", Table: "two"}, Columns: []table.Column{{Name: "n"}, {Name: "kind"}}, Key: []int{1, 0}}
	for _, c := range []struct {
		of   *table.Table
		text string
		file bool
		want string
	}{
		{one, "1, 2,3 ,", false, "1|2|3"},
		{one, `[1] ["a,b"] {"id": 12345678901234567890.50}`, false, "1|a,b|12345678901234567890.50"},
		{one, "a,b\n\n  c \n[\"[d\"]\n[true]", true, "a,b|c|[d|true"},
		{two, `["x", 1]["y", 2]`, false, "x 1|y 2"},
		{two, "{\"n\": 7, \"kind\": \"\"}\n", true, " 7"},
		{one, " , ", false, "error: no key is given"},
		{one, "", true, "error: no key is given"},
		{two, "x", false, `error: key 1: the key of public.two is (kind, n)`},
		{two, `["x"]`, false, "error: key 1: it has 1 values"},
		{two, `["x", 1] ["y", null]`, false, "error: key 2: n is neither"},
		{two, `{"kind": "x"}`, false, "error: key 1: it has 1 names"},
		{two, `{"kind": "x", "m": 1}`, false, "error: key 1: it has no n"},
		{two, `["x", 1`, false, "error: key 1 is not JSON"},
		{two, "[\"x\", 1]\n[secret", true, "error: key 2: it is not JSON"},
	} {
		keys, err := keysOf(c.of, c.text, c.file)
		var lines []string
		for _, k := range keys {
			var values []string
			for _, v := range k {
				values = append(values, string(v.Bytes()))
			}
			lines = append(lines, strings.Join(values, " "))
		}
		got := strings.Join(lines, "|")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}
