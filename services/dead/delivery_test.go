package dead

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

// post is a delivery between a database and a broker of the test's own.
type post struct {
	t       *testing.T
	conn    *pgx.Conn
	cluster *kafkatest.Cluster
	topic   string
	reg     *prometheus.Registry
	d       *Delivery
}

func newPost(t *testing.T) *post {
	url := pgtest.Database(t)
	p := &post{t: t, conn: pgtest.Connect(t, url), cluster: kafkatest.Fake(t), reg: prometheus.NewRegistry()}
	name := migration.Name("shop")
	p.topic = name.DeadTopic()
	cfg := kafka.Config{Brokers: p.cluster.Brokers()}
	admin, err := kafka.OpenAdmin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.EnsureTopics(t.Context(), []kafka.Topic{kafka.LettersTopic(p.topic, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := pgtarget.EnsureSchema(t.Context(), p.conn); err != nil {
		t.Fatal(err)
	}
	p.d = &Delivery{
		Migration: string(name), RawTopic: name.RawTopic, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(p.reg), Every: 5 * time.Millisecond,
		Connect: func(ctx context.Context) (*pgx.Conn, error) { return postgres.Connect(ctx, url, "letters") },
		Open:    func() (Letters, error) { return kafka.OpenLetters(cfg, p.topic) },
	}
	return p
}

// start runs the delivery until the function that it returns is called.
func (p *post) start() (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	over := make(chan error, 1)
	go func() { over <- p.d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-over; err != context.Canceled { //nolint:errorlint // Run gives the context's own
			p.t.Errorf("the delivery ended with %v", err)
		}
	}
}

// lines writes to the log what an applier would.
func (p *post) lines(n int) {
	p.t.Helper()
	pgtest.Exec(p.t, p.conn, fmt.Sprintf(`INSERT INTO segue.parked_log (migration, action, who, source_schema, source_table, key_values, position, op, stage, code, reason, cause)
		SELECT CASE i %% 10 WHEN 9 THEN 'other' ELSE 'shop' END, 'parked', 'test', 'public', 'orders', ARRAY[i::text, NULL], '1:0/' || i || '#1', 'update', 'applier', '23503',
		'constraint x', '1:0/7#1' FROM generate_series(1, %d) i`, n))
}

// logged are the ids of the log.
func (p *post) logged() []int64 {
	p.t.Helper()
	rows, err := p.conn.Query(p.t.Context(), "SELECT id FROM segue.parked_log WHERE migration = 'shop' ORDER BY id")
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// read reads the topic until it has a record of each of the ids.
func (p *post) read(ids []int64) (out []*kgo.Record, got []int64) {
	p.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.cluster.Brokers()...), kgo.ConsumeTopics(p.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		p.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	seen := map[int64]bool{}
	for len(seen) < len(ids) {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			p.t.Fatalf("%d of %d lines are there: %v", len(seen), len(ids), err)
		}
		for _, r := range fetches.Records() {
			var record Record
			if err := json.Unmarshal(r.Value, &record); err != nil {
				p.t.Fatal(err)
			}
			out, got, seen[record.ID] = append(out, r), append(got, record.ID), true
		}
	}
	return out, got
}

func (p *post) delivered() (id int64) {
	p.t.Helper()
	id, err := pgtarget.Delivered(p.t.Context(), p.conn, "shop")
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// noted waits until all lines are noted as delivered.
func (p *post) noted(ids []int64) {
	p.t.Helper()
	for late := time.Now().Add(20 * time.Second); p.delivered() != ids[len(ids)-1]; {
		if time.Now().After(late) {
			p.t.Fatalf("noted up to %d, want %d", p.delivered(), ids[len(ids)-1])
		}
	}
}

func (p *post) metric(name string) float64 {
	p.t.Helper()
	all, err := p.reg.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	p.t.Fatalf("no metric %s", name)
	return 0
}

func TestLettersAreDeliveredOnceInOrderWhereNothingBreaks(t *testing.T) {
	p := newPost(t)
	p.lines(1300)
	stop := p.start()
	p.read(p.logged())
	p.lines(100)
	ids := p.logged()
	records, _ := p.read(ids)
	p.noted(ids)
	stop()
	stop = p.start() // another life goes on behind
	p.lines(20)
	ids = p.logged()
	if _, got := p.read(ids); !slices.Equal(got, ids) {
		t.Errorf("%d records for %d lines, or out of order", len(got), len(ids))
	}
	p.noted(ids)
	stop()
	headers := map[string]string{}
	for _, h := range records[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	want := map[string]string{
		"__connect.errors.topic": "shop.raw.public.orders", "__connect.errors.connector.name": "shop", "__connect.errors.stage": "applier",
		"__connect.errors.exception.class.name": "23503", "__connect.errors.exception.message": "constraint x",
		"segue.action": "parked", "segue.position": "1:0/1#1", "segue.id": fmt.Sprint(ids[0]),
	}
	for k, v := range want {
		if headers[k] != v {
			t.Errorf("header %s is %q, want %q", k, headers[k], v)
		}
	}
	if len(headers) != len(want) || string(records[0].Key) != `["1",null]` || !strings.Contains(string(records[0].Value), `"cause":"1:0/7#1"`) {
		t.Errorf("headers %v, key %s, value %s", headers, records[0].Key, records[0].Value)
	}
	if got := p.metric("segue_dead_delivered_total"); got != float64(len(ids)) {
		t.Errorf("%v delivered, want %d", got, len(ids))
	}
	if got := p.metric("segue_dead_behind"); got != 0 {
		t.Errorf("behind by %v", got)
	}
}

// dying are letters whose sender dies between the writing and the noting.
type dying struct {
	Letters
	die func()
}

func (d *dying) Write(ctx context.Context, letters []kafka.Letter) error {
	err := d.Letters.Write(ctx, letters)
	if err == nil {
		d.die()
	}
	return err
}

// A crash between the writing and the noting: what was written comes again, nothing is left out, and the order is that of the log.
func TestLettersComeAgainBehindACrash(t *testing.T) {
	p := newPost(t)
	p.lines(1300)
	ids := p.logged()
	var crashes atomic.Int32
	admin := pgtest.Connect(t, p.conn.Config().ConnString())
	open := p.d.Open
	p.d.Open = func() (Letters, error) {
		to, err := open()
		return &dying{to, func() {
			if crashes.Add(1) <= 2 {
				if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'letters' AND datname = current_database()"); err != nil {
					t.Error(err)
				}
			}
		}}, err
	}
	defer p.start()()
	_, got := p.read(ids)
	p.noted(ids)
	if len(got) != len(ids)+2*lettersAtOnce {
		t.Errorf("%d records for %d lines: two pages are to be there twice more", len(got), len(ids))
	}
	again := slices.Compact(slices.Sorted(slices.Values(got)))
	if !slices.Equal(again, ids) {
		t.Error("lines are missing")
	}
	if first := got[:lettersAtOnce]; !slices.Equal(first, got[lettersAtOnce:2*lettersAtOnce]) || !slices.IsSorted(got[2*lettersAtOnce:]) {
		t.Error("what came again is not what was not noted, or not in order")
	}
}

// Kafka refuses for a while: the delivery waits, says how far it is behind, and goes on.
func TestLettersWaitForKafka(t *testing.T) {
	p := newPost(t)
	p.d.Within = 100 * time.Millisecond
	refused := p.cluster.RefuseProduce(p.topic, kerr.NotEnoughReplicas, -1)
	p.lines(30)
	ids := p.logged()
	stop := p.start()
	for late := time.Now().Add(20 * time.Second); p.metric("segue_dead_behind") != float64(len(ids)); {
		if time.Now().After(late) {
			t.Fatal("it does not say that it is behind")
		}
	}
	if p.delivered() != 0 {
		t.Error("noted what Kafka has refused")
	}
	refused.Remove()
	p.read(ids)
	p.noted(ids)
	stop()
}

// Before the applier has made its tables there is nothing to deliver, and nothing fails.
func TestLettersWaitForTheLog(t *testing.T) {
	p := newPost(t)
	pgtest.Exec(t, p.conn, "DROP SCHEMA segue CASCADE")
	stop := p.start()
	if err := pgtarget.EnsureSchema(t.Context(), p.conn); err != nil {
		t.Fatal(err)
	}
	p.lines(5)
	p.read(p.logged())
	stop()
}

// People's own topic: it is made with a time to keep, and what people make of it is left alone.
func TestTheTopicIsPeoplesOwn(t *testing.T) {
	p := newPost(t)
	cfg := kafka.Config{Brokers: p.cluster.Brokers()}
	admin, err := kafka.OpenAdmin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	want := []kafka.Topic{kafka.LettersTopic(p.topic, 1)}
	if kept := p.cluster.TopicInfo(p.topic).Configs["retention.ms"]; kept == nil || *kept != "2592000000" {
		t.Errorf("kept for %v ms", kept)
	}
	if err := p.cluster.CreateTopic("other.dead", 3, map[string]string{"retention.ms": "3600000"}); err != nil {
		t.Fatal(err)
	}
	want = append(want, kafka.LettersTopic("other.dead", 1))
	if err := admin.EnsureTopics(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if findings, err := admin.CheckTopics(t.Context(), want); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
}
