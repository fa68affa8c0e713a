package status_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/embedded"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/table"
	"segue/pkg/wire"
	"segue/services/status"
)

func spec(t *testing.T, source, target string) *migration.Spec {
	t.Helper()
	text := fmt.Sprintf("migration: shown\nsource: {postgres: %q}\ntarget: {postgres: %q}\ntables: [{from: public.*}]", source, target)
	s, err := migration.Parse(migration.Input{Path: "segue.yaml", Text: []byte(text), Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func page(r status.Report) string {
	var b strings.Builder
	status.Write(&b, r)
	return b.String()
}

// writeReader writes what a reader would: a claim and a frontier in the middle of the load.
func writeReader(t *testing.T, s *migration.Spec, k kafka.Config, codec kafka.Codec, at change.Position) {
	t.Helper()
	lane := frontier.Lane{Table: "public.a"}
	admin, err := kafka.OpenAdmin(k)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.EnsureTopics(t.Context(), []kafka.Topic{{Name: s.Name.FrontierTopic("reader"), Partitions: 1}, {Name: s.Name.RawLane(lane.Table), Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	w, err := kafka.OpenWriter(t.Context(), kafka.WriterConfig{
		Kafka: k, Stage: "reader", Owner: "me", Upstream: -1, FrontierTopic: s.Name.FrontierTopic("reader"),
		LaneTopic: s.Name.RawLane, Lanes: []frontier.Lane{lane}, Codec: codec,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := table.Name{Schema: "public", Table: "a"}
	cut := frontier.Cut{At: at, Boundary: true, Committed: time.Now().UnixMicro(), Loads: []frontier.Load{{Table: a, Leaf: a, Blocks: 10, Done: []frontier.Range{{From: 0, To: 4}}}}}
	if err := w.Cut(t.Context(), cut, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLookAtParts(t *testing.T) {
	s := spec(t, pgtest.Database(t), pgtest.Database(t))
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	k := kafka.Config{Brokers: servers.Addresses().Brokers}
	registry, err := wire.NewRegistry(wire.RegistryConfig{URL: servers.Addresses().Registry})
	if err != nil {
		t.Fatal(err)
	}
	codec := func(ctx context.Context, topic string) (kafka.Codec, error) {
		return wire.NewFrontiers(ctx, registry, topic)
	}
	frontiers, err := codec(t.Context(), s.Name.FrontierTopic("reader"))
	if err != nil {
		t.Fatal(err)
	}
	writeReader(t, s, k, frontiers, change.Position{Epoch: 1, LSN: 0x16B3748})

	seat, err := kafka.OpenSeat(kafka.SeatConfig{Kafka: k, Group: s.Name.Group("reader"), Topic: s.Name.FrontierTopic("reader"), Instance: "one", Owner: "reader@one"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { seat.Close(context.Background()) }()
	if _, _, err := seat.Take(t.Context(), func(kafka.Standby) {}); err != nil {
		t.Fatal(err)
	}

	c := status.Config{Spec: s, Kafka: &k, Codec: codec}
	r := status.Look(t.Context(), c, nil)
	for _, want := range []string{
		"slot segue_shown is not there yet", "reader        1:0/16B3748#0", "nothing applied yet",
		"load     0 of 1 tables complete", "public.a", "[########............]  40 %",
		"reader        working reader@one",
	} {
		if !strings.Contains(page(r), want) {
			t.Errorf("no %q in\n%s", want, page(r))
		}
	}
	if r.Source.LSN == 0 || r.Lag.Known {
		t.Errorf("source %+v, lag %+v", r.Source, r.Lag)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}

	// Kafka goes away: its last numbers stay, with their age and the reason.
	servers.Kafka.Close()
	c.Timeout = 500 * time.Millisecond
	later := status.Look(t.Context(), c, &r)
	if later.Stages.Error == "" || len(later.Stages.List) != 1 || !later.Stages.Read.Equal(r.Stages.Read) || later.Source.Error != "" {
		t.Errorf("kafka gone: %+v", later.Stages)
	}
	if got := page(later); !strings.Contains(got, "ago; not reached since: ") {
		t.Errorf("page:\n%s", got)
	}
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 420 * time.Millisecond: "420 ms", 3200 * time.Millisecond: "3.2 s", 4 * time.Minute: "4 min",
		306 * time.Minute: "5.1 h", 12 * 24 * time.Hour: "12 d",
	} {
		if got := status.Age(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 2_500_000_000: "2.5 GB", 7e15: "7000.0 TB"} {
		if got := status.Size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	if status.Bar(1, 2) != "[##########..........]" || status.Bar(0, 0) != "[####################]" || status.Percent(3, 2) != 100 {
		t.Error("bars")
	}
}

// What threatens the slot is shown even where no reader runs to act on it.
func TestASlotInDanger(t *testing.T) {
	source := pgtest.Database(t)
	s := spec(t, source, source)
	s.Name = migration.Name("danger" + strings.ToLower(rand.Text()[:8]))
	s.Protect = migration.Protect{MaxRetainedWAL: 1, OnLimit: migration.OnLimitDrop}
	conn := pgtest.Connect(t, source)
	pgtest.Exec(t, conn, `SELECT pg_create_logical_replication_slot('`+s.Name.Slot()+`', 'pgoutput')`, `CREATE TABLE a (id int)`, `SELECT pg_switch_wal()`, `CHECKPOINT`)
	r := status.Look(t.Context(), status.Config{Spec: s, Reason: "none"}, nil)
	got := page(r)
	for _, want := range []string{"nobody reads it", "OVER: the slot holds back", "protect.max_retained_wal is 1 bytes", "no reader runs, so protect.on_limit (drop) does nothing", "kept on standbys: no"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q:\n%s", want, got)
		}
	}
	if len(r.Source.Crossed) != 1 || r.Source.Unconfirmed <= 0 {
		t.Errorf("%+v", r.Source)
	}
}

// A target that is busier than it may be, and the indexes that are away.
func TestATargetUnderStrain(t *testing.T) {
	target := pgtest.Database(t)
	s := spec(t, pgtest.Database(t), target)
	s.Target.Pause.ActiveSessions = 1
	conn := pgtest.Connect(t, target)
	if err := pgtarget.EnsureSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, `INSERT INTO segue.progress (migration, mode, fingerprint, owner, backend_pid, backend_start) VALUES ('shown', 'fused', '', '', 0, 'epoch')`,
		`CREATE TABLE a (id int PRIMARY KEY, v int)`, `CREATE INDEX a_v ON a (v)`, `SELECT pg_advisory_lock(1)`)
	if err := pgtarget.DropIndexes(t.Context(), conn, "shown", []table.Name{{Schema: "public", Table: "a"}}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 3)
	for range 3 {
		other := pgtest.Connect(t, target)
		go func() {
			_, err := other.Exec(t.Context(), `SELECT pg_advisory_lock(1), pg_advisory_unlock(1)`)
			done <- err
		}()
	}
	c := status.Config{Spec: s, Reason: "none"}
	deadline := time.Now().Add(20 * time.Second)
	r := status.Look(t.Context(), c, nil)
	for len(r.Target.Crossed) == 0 && time.Now().Before(deadline) {
		r = status.Look(t.Context(), c, nil)
	}
	for _, want := range []string{"OVER: ", "sessions of others are active, target.pause_while.active_sessions is 1: the applier rests", "indexes  taken away for the load: 0 of 1 indexes made"} {
		if got := page(r); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	pgtest.Exec(t, conn, `SELECT pg_advisory_unlock_all()`)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
