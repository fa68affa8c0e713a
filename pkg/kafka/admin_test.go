package kafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"segue/pkg/fault"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

func TestTopicsAreMadeOnceAndChecked(t *testing.T) {
	c := kafkatest.Fake(t)
	admin, err := kafka.OpenAdmin(kafka.Config{Brokers: c.Brokers()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	topics := []kafka.Topic{
		{Name: "m.raw.public.a", Partitions: 3, Replication: 1, Settings: map[string]string{"max.message.bytes": "2000000", "retention.ms": "5"}},
		{Name: "m.reader.frontier", Partitions: 1},
	}
	if findings, err := admin.CheckTopics(t.Context(), topics); err != nil || len(findings) != 2 || findings[0].Fatal {
		t.Fatalf("missing topics: %v, %v", findings, err)
	}
	for range 2 {
		if err := admin.EnsureTopics(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.TopicInfo("m.raw.public.a").Configs; *got["retention.ms"] != "-1" || *got["max.message.bytes"] != "2000000" {
		t.Errorf("settings as made: retention %s, size %s", *got["retention.ms"], *got["max.message.bytes"])
	}
	topics[0].Partitions = 4
	err = admin.EnsureTopics(t.Context(), topics)
	if err == nil || !strings.Contains(err.Error(), "m.raw.public.a has 3 partitions, the migration has 4") || fault.ClassOf(err) != fault.ClassFatal {
		t.Errorf("a changed partition count: %v", err)
	}
	if err := c.CreateTopic("m.dead", 1, map[string]string{"retention.ms": "60000"}); err != nil {
		t.Fatal(err)
	}
	err = admin.EnsureTopics(t.Context(), []kafka.Topic{{Name: "m.dead", Partitions: 1}})
	if err == nil || !strings.Contains(err.Error(), "retention.ms=60000") {
		t.Errorf("a topic that expires: %v", err)
	}
	ends, err := admin.Ends(t.Context(), "m.raw.public.a")
	if err != nil || len(ends["m.raw.public.a"]) != 3 {
		t.Errorf("ends %v, %v", ends, err)
	}
	if err := admin.Delete(t.Context(), "m.dead", "m.never"); err != nil || c.TopicInfo("m.dead") != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestRequestsAreDurableAndReadInOrder(t *testing.T) {
	c := kafkatest.Fake(t)
	cfg := kafka.Config{Brokers: c.Brokers()}
	if err := c.CreateTopic("m.requests", 1, nil); err != nil {
		t.Fatal(err)
	}
	requests, err := kafka.OpenRequests(cfg, "m.requests")
	if err != nil {
		t.Fatal(err)
	}
	defer requests.Close()
	if err := requests.Produce(t.Context(), []byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if err := requests.Produce(t.Context(), []byte("c")); err != nil {
		t.Fatal(err)
	}
	items, err := kafka.OpenItems(cfg, "m.requests", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer items.Close()
	for i, want := range []string{"b", "c"} {
		item, err := items.Next(t.Context())
		if err != nil || string(item.Value) != want || item.Offset != int64(i+1) {
			t.Errorf("item %d is %q at %d: %v", i, item.Value, item.Offset, err)
		}
	}
	if items.Ready() {
		t.Error("there is nothing more")
	}
	beyond, err := kafka.OpenItems(cfg, "m.requests", 99)
	if err != nil {
		t.Fatal(err)
	}
	defer beyond.Close()
	_, err = beyond.Next(t.Context())
	wantLost(t, err)
}

// What may pass is transient, so that a component waits and tries again.
func TestUnreachableBrokerIsTransient(t *testing.T) {
	c := kafkatest.Fake(t)
	brokers := c.Brokers()
	c.Close()
	r := &rig{t: t, cfg: kafka.Config{Brokers: brokers}, stage: "raw", patient: 5 * time.Second}
	admin, err := kafka.OpenAdmin(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Brokers(r.ctx()); fault.ClassOf(err) != fault.ClassTransient {
		t.Errorf("ping: %v (%s)", err, fault.ClassOf(err))
	}
	_, err = kafka.OpenWriter(r.ctx(), r.writerConfig())
	if fault.ClassOf(err) != fault.ClassTransient || errors.Is(err, kafka.ErrClosed) {
		t.Errorf("writer: %v (%s)", err, fault.ClassOf(err))
	}
}
