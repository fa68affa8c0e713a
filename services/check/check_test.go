package check_test

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/check"
)

// as returns the URL for another role without password.
func as(t *testing.T, raw, role string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

func spec(t *testing.T, source, target, tables string) *migration.Spec {
	t.Helper()
	text := fmt.Sprintf("migration: checked\nsource: {postgres: %q}\ntarget: {postgres: %q}\ntables:\n%s", source, target, tables)
	s, err := migration.Parse(migration.Input{Path: "segue.yaml", Text: []byte(text), Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, s *migration.Spec) []check.Finding {
	t.Helper()
	return check.Run(t.Context(), check.Config{Spec: s})
}

// wants says that one finding is of the severity, about the object, and that its text and its mend hold these.
func wants(t *testing.T, found []check.Finding, severity check.Severity, object, text, mend string) {
	t.Helper()
	for _, f := range found {
		if f.Severity == severity && f.Object == object && strings.Contains(f.Text, text) && strings.Contains(f.Mend, mend) {
			return
		}
	}
	t.Errorf("no %s about %s with %q and %q among:\n%s", severity, object, text, mend, list(found))
}

func list(found []check.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s | %s | %s | %s\n", f.Severity, f.Object, f.Text, f.Mend)
	}
	return b.String()
}

func TestNothingButAdviceOnGoodDatabases(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	for _, u := range []string{source, target} {
		pgtest.Exec(t, pgtest.Connect(t, u), `CREATE TABLE customers (id int PRIMARY KEY, name text)`, `CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers)`)
	}
	found := run(t, spec(t, source, target, `  - from: public.*`))
	if check.Errors(found) != 0 {
		t.Errorf("found\n%s", list(found))
	}
	wants(t, found, check.Warning, "source", "max_slot_wal_keep_size", "ALTER SYSTEM SET max_slot_wal_keep_size")
}

func TestTables(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, source),
		`CREATE TABLE keyless (v text)`,
		`CREATE TABLE split (v text) PARTITION BY LIST (v)`, `ALTER TABLE split REPLICA IDENTITY FULL`,
		`CREATE TABLE lots (v text)`, `ALTER TABLE lots REPLICA IDENTITY FULL`,
		`CREATE TABLE mute (id int PRIMARY KEY)`, `ALTER TABLE mute REPLICA IDENTITY NOTHING`,
		`CREATE TABLE gone (id int PRIMARY KEY)`,
		`CREATE TABLE loud (id int PRIMARY KEY)`)
	pgtest.Exec(t, pgtest.Connect(t, target),
		`CREATE TABLE keyless (v text)`, `CREATE TABLE lots (v text)`, `CREATE TABLE split (v text)`, `CREATE TABLE mute (id int PRIMARY KEY)`, `CREATE TABLE loud (id int PRIMARY KEY)`,
		`CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
		`CREATE TRIGGER g BEFORE INSERT ON loud FOR EACH ROW EXECUTE FUNCTION f()`)
	found := run(t, spec(t, source, target, `  - from: public.*`))
	wants(t, found, check.Error, "source public.keyless", "no key", `ALTER TABLE "public"."keyless" ADD PRIMARY KEY`)
	wants(t, found, check.Error, "source public.keyless", "no key", `ALTER TABLE "public"."keyless" REPLICA IDENTITY FULL;`)
	wants(t, found, check.Error, "source public.split", "partitioned", `ADD PRIMARY KEY`)
	wants(t, found, check.Warning, "source public.lots", "loaded whole, in one snapshot (8192 bytes)", `ADD PRIMARY KEY`)
	if strings.Contains(list(found), "no usable key") {
		t.Errorf("a target of a table without key needs none:\n%s", list(found))
	}
	wants(t, found, check.Error, "source public.mute", "NOTHING", `ALTER TABLE "public"."mute" REPLICA IDENTITY DEFAULT;`)
	wants(t, found, check.Error, "target public.gone", "not there", "create the table")
	wants(t, found, check.Warning, "target public.loud", "1 triggers", "DISABLE TRIGGER USER")
}

// A table without key takes a second slot and WAL sender for a moment.
func TestATableWithoutAKeyWantsASecondSlot(t *testing.T) {
	cluster := pgtest.Private(t, map[string]string{"max_replication_slots": "1", "max_wal_senders": "1"})
	target := pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, cluster.URL), `CREATE TABLE lots (v text)`, `ALTER TABLE lots REPLICA IDENTITY FULL`)
	pgtest.Exec(t, pgtest.Connect(t, target), `CREATE TABLE lots (v text)`)
	found := run(t, spec(t, cluster.URL, target, `  - from: public.*`))
	wants(t, found, check.Error, "source", "no replication slot is free for loading public.lots", "max_replication_slots = 20")
	wants(t, found, check.Error, "source", "no WAL sender is free for loading public.lots", "max_wal_senders = 20")
}

// What has a key on the source needs one on the target.
func TestATargetWithoutAKey(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, source), `CREATE TABLE a (id int PRIMARY KEY)`)
	pgtest.Exec(t, pgtest.Connect(t, target), `CREATE TABLE a (id int)`)
	wants(t, run(t, spec(t, source, target, `  - from: public.*`)), check.Error, "target public.a", "no usable key", `ADD PRIMARY KEY`)
}

func TestMappingFindingsHaveTheirLine(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, source), `CREATE TABLE a (id int PRIMARY KEY, extra text)`)
	pgtest.Exec(t, pgtest.Connect(t, target), `CREATE TABLE a (id int PRIMARY KEY)`)
	found := run(t, spec(t, source, target, "  - from: public.a"))
	if check.Errors(found) != 1 || !strings.HasPrefix(found[len(found)-1].Object, "segue.yaml:5:") || !strings.Contains(found[len(found)-1].Text, "extra") {
		t.Errorf("found\n%s", list(found))
	}
	found = run(t, spec(t, source, target, "  - from: public.b"))
	if check.Errors(found) != 1 || !strings.Contains(list(found), "segue.yaml:5:") {
		t.Errorf("found\n%s", list(found))
	}
}

func TestPrivileges(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	const role = "segue_check_weak"
	admin := pgtest.Connect(t, source)
	pgtest.Exec(t, admin, `DROP ROLE IF EXISTS `+role, `CREATE ROLE `+role+` LOGIN`, `CREATE TABLE a (id int PRIMARY KEY)`,
		`ALTER TABLE a ENABLE ROW LEVEL SECURITY`)
	other := pgtest.Connect(t, target)
	pgtest.Exec(t, other, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE b (a int REFERENCES a)`, `GRANT SELECT ON a TO `+role)
	defer func() {
		pgtest.Exec(t, other, `DROP OWNED BY `+role)
		pgtest.Exec(t, admin, `DROP OWNED BY `+role, `DROP ROLE `+role)
	}()
	found := run(t, spec(t, as(t, source, role), as(t, target, role), "  - from: public.a"))
	wants(t, found, check.Error, "source", "may not replicate", `ALTER ROLE "segue_check_weak" REPLICATION;`)
	wants(t, found, check.Error, "source", "may not create a publication", `GRANT CREATE ON DATABASE`)
	wants(t, found, check.Error, "source public.a", "may not read it", `GRANT SELECT ON "public"."a" TO "segue_check_weak";`)
	wants(t, found, check.Error, "source public.a", "only its owner", `GRANT "postgres" TO "segue_check_weak";`)
	wants(t, found, check.Error, "source public.a", "row-level security", `BYPASSRLS`)
	wants(t, found, check.Error, "target", "schema segue", `GRANT CREATE ON DATABASE`)
	wants(t, found, check.Error, "target public.a", "lacks INSERT, UPDATE, DELETE", `GRANT INSERT, UPDATE, DELETE ON "public"."a" TO "segue_check_weak";`)
	wants(t, found, check.Error, "target public.b", "b_a_fkey", `segue target prepare --sql`)
	wants(t, found, check.Error, "target public.b", "make foreign key b_a_fkey again", `GRANT REFERENCES ON "public"."a"`)
}

func TestWhatCannotBeReachedIsSaid(t *testing.T) {
	s := spec(t, "postgres://nobody:hunter2@127.0.0.1:1/x", "postgres://nobody:hunter2@127.0.0.1:1/y", "  - from: public.a")
	found := check.Run(t.Context(), check.Config{
		Spec: s, Kafka: &kafka.Config{Brokers: []string{"127.0.0.1:1"}}, Registry: wire.RegistryConfig{URL: "http://127.0.0.1:1"}, Redis: "redis://127.0.0.1:1",
		Topics: func([]*table.Table, int) []kafka.Topic { return nil },
	})
	wants(t, found, check.Error, "source", "refused", "")
	wants(t, found, check.Error, "target", "refused", "")
	wants(t, found, check.Error, "kafka", "refused", "SEGUE_KAFKA_BROKERS")
	wants(t, found, check.Error, "registry", "refused", "SEGUE_REGISTRY_URL")
	wants(t, found, check.Warning, "redis", "refused", "SEGUE_REDIS_URL")
	s.Kafka.Wire = migration.WireJSON
	for _, f := range check.Run(t.Context(), check.Config{Spec: s, Kafka: &kafka.Config{Brokers: []string{"127.0.0.1:1"}}}) {
		if f.Object == "registry" {
			t.Errorf("a registry is missed that kafka.wire: json does not need: %s", f.Text)
		}
	}
	if strings.Contains(list(found), "hunter2") {
		t.Errorf("shows a password:\n%s", list(found))
	}
}

func TestTopicsThatDiffer(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	for _, u := range []string{source, target} {
		pgtest.Exec(t, pgtest.Connect(t, u), `CREATE TABLE a (id int PRIMARY KEY)`)
	}
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	where := servers.Addresses()
	k := kafka.Config{Brokers: where.Brokers}
	c := check.Config{
		Spec: spec(t, source, target, "  - from: public.a"), Kafka: &k, Registry: wire.RegistryConfig{URL: where.Registry}, Redis: where.Redis,
		Topics: func([]*table.Table, int) []kafka.Topic { return []kafka.Topic{{Name: "checked.raw", Partitions: 4}} },
	}
	if found := check.Run(t.Context(), c); check.Errors(found) != 0 {
		t.Errorf("missing topics are made at the start:\n%s", list(found))
	}
	admin, err := kafka.OpenAdmin(k)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.EnsureTopics(t.Context(), []kafka.Topic{{Name: "checked.raw", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	wants(t, check.Run(t.Context(), c), check.Error, "topic checked.raw", "has 2 partitions", "kafka.partitions")
}
