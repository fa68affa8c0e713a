package kafka_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/kafkatest"
)

// limit sets the largest record that a topic takes.
func limit(t *testing.T, brokers []string, topic, size string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &size}}, topic)
	if err != nil || len(answers) != 1 || answers[0].Err != nil {
		t.Fatalf("alter %s: %v %v", topic, err, answers)
	}
	awaitLimit(t, client, topic, size)
}

// awaitLimit waits until every broker tells the topic's new limit: the controller has it first.
func awaitLimit(t *testing.T, client *kgo.Client, topic, size string) {
	t.Helper()
	brokers, err := kadm.NewClient(client).ListBrokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	about := kmsg.NewDescribeConfigsRequestResource()
	about.ResourceType, about.ResourceName, about.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{"max.message.bytes"}
	req.Resources = append(req.Resources, about)
	deadline := time.Now().Add(30 * time.Second)
	for _, id := range brokers.NodeIDs() {
		for told := ""; told != size; {
			answer, err := client.Broker(int(id)).RetriableRequest(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := answer.(*kmsg.DescribeConfigsResponse); ok && len(d.Resources) == 1 && len(d.Resources[0].Configs) == 1 && d.Resources[0].Configs[0].Value != nil {
				told = *d.Resources[0].Configs[0].Value
			}
			if time.Now().After(deadline) {
				t.Fatalf("broker %d tells %q as the limit of %s, want %s", id, told, topic, size)
			}
		}
	}
}

// What Room allows the broker takes, whatever the bytes are and however many records share a batch; one byte more is refused before it
// is sent, and the writer goes on.
func recordsUpToRoom(t *testing.T, brokers []string, large string) {
	r := newRig(t, brokers, "raw")
	small, wide := r.lanes[0].Table, r.lanes[partitions].Table
	limit(t, brokers, r.laneTopic(small), "5000")
	limit(t, brokers, r.laneTopic(wide), large)
	w := r.writer()
	room := w.Room(0)
	if room < 4000 || room > 5000 || w.Room(partitions) < 1_100_000 {
		t.Fatalf("room for %d and %d bytes, the topics take 5000 and %s", room, w.Room(partitions), large)
	}
	if err := w.Append(r.ctx(), 0, at(1, 1), noise(30), noise(room-29)); fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "max.message.bytes") {
		t.Fatalf("a byte more than there is room for: %v", err)
	}
	big := noise(w.Room(partitions) - 30)
	seq := uint64(0)
	add := func(lane int, value []byte) {
		t.Helper()
		seq++
		if err := w.Append(r.ctx(), lane, at(1, seq), noise(30), value); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		add(0, noise(room-30))
		add(0, noise(100))
	}
	add(partitions, big)
	if err := w.Cut(r.ctx(), frontier.Cut{At: at(1, seq), Boundary: true}, true); err != nil {
		t.Fatal(err)
	}
	r.awaitValid(w, at(1, seq))
	rd, m := r.reader(nothing), 0
	for {
		e, err := rd.Next(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if e.Batch == nil {
			continue
		}
		m += len(e.Batch.Changes)
		if e.Batch.Frontier.At == at(1, seq) {
			if last := e.Batch.Changes[len(e.Batch.Changes)-1]; !bytes.Equal(last.Value, big) {
				t.Errorf("the large record came back with %d bytes, want %d", len(last.Value), len(big))
			}
			break
		}
	}
	if m != int(seq) {
		t.Errorf("%d records read, want %d", m, seq)
	}
}

func TestRecordsAsLargeAsTheTopicTakes(t *testing.T) {
	recordsUpToRoom(t, kafkatest.Fake(t).Brokers(), "9000000")
}

// The same on Apache Kafka, with a record of nearly 100 MB: as large as its socket.request.max.bytes lets through.
func TestRealRecordsAsLargeAsTheTopicTakes(t *testing.T) {
	recordsUpToRoom(t, kafkatest.Real(t, kafkatest.Config{}).Brokers(), "300000000")
}

// A stage whose own topic takes less than its input's sends what its Stub makes, on the same lane.
func TestRelayMakesStubs(t *testing.T) {
	raw, c := fakeRig(t)
	shaped := newRig(t, c.Brokers(), "shaped")
	for n := range tables {
		limit(t, c.Brokers(), shaped.laneTopic(raw.lanes[n*partitions].Table), "3000")
	}
	cfg := kafka.RelayConfig[frontier.Message]{
		Writer: shaped.writerConfig(),
		Input:  raw.frontierTopic(),
		Open: func(ctx context.Context, from frontier.Cursor) (frontier.Source[frontier.Message], func(), error) {
			rd, err := kafka.OpenReader(ctx, raw.readerConfig(from))
			if err != nil {
				return nil, nil, err
			}
			return rd, rd.Close, nil
		},
		Encode: func(m *frontier.Message) (kafka.Encoded, error) {
			return kafka.Encoded{Lane: m.Lane, Pos: m.Pos, Key: m.Key, Value: m.Value}, nil
		},
		Stub: func(_ *frontier.Message, was kafka.Encoded, room int) (kafka.Encoded, error) {
			if len(was.Key)+len(was.Value) <= room {
				t.Errorf("a stub for %d bytes, there is room for %d", len(was.Value), room)
			}
			was.Value = []byte("stub")
			return was, nil
		},
	}
	stop := running(t, kafka.NewRelay(cfg))
	defer func() { _ = stop() }()
	w := raw.writer()
	for seq, value := range [][]byte{[]byte("a"), noise(5000), []byte("b")} {
		if err := w.Append(raw.ctx(), seq, at(1, uint64(seq+1)), []byte("k"), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Cut(raw.ctx(), frontier.Cut{At: at(1, 3), Boundary: true}, true); err != nil {
		t.Fatal(err)
	}
	raw.awaitValid(w, at(1, 3))
	// The stage's topic holds its frontier as soon as the stage has passed the batch on.
	rd := shaped.reader(nothing)
	for {
		e, err := rd.Next(shaped.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if e.Batch == nil {
			continue
		}
		got := e.Batch.Changes
		if len(got) != 3 || string(got[0].Value) != "a" || string(got[1].Value) != "stub" || got[1].Lane != 1 || string(got[2].Value) != "b" {
			t.Fatalf("%d records, want a, stub on lane 1, b", len(got))
		}
		return
	}
}
