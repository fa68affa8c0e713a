package kafka_test

import (
	"testing"
	"time"

	"segue/pkg/frontier"
	"segue/pkg/kafkatest"
)

// Real Kafka, killed in the middle: the same records are tried again under the same sequence numbers, nothing is lost,
// doubled or moved; and what a zombie writes there is void, as on the fake one.
func TestHopOnRealKafkaSurvivesABrokerKill(t *testing.T) {
	server := kafkatest.Real(t, kafkatest.Config{})
	r := newRig(t, server.Brokers(), "raw")
	w := r.writer()
	var sizes []int
	write := func(txs int) {
		t.Helper()
		for range txs {
			sizes = append(sizes, 1+len(sizes)%9)
			r.mustTx(w, uint64(len(sizes)), sizes[len(sizes)-1])
		}
	}
	end := func() frontier.Cursor {
		return frontier.Cursor{At: at(uint64(len(sizes)), uint64(sizes[len(sizes)-1]))}
	}
	write(1)
	r.awaitValid(w, end().At) // the producer has its ID: without one, a broker that goes away breaks the writer, which may start again
	write(199)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	write(200) // into the buffer
	if err := server.Start(r.ctx()); err != nil {
		t.Fatal(err)
	}
	write(100)
	r.awaitValid(w, end().At)

	old := w
	w = r.writer()
	_ = r.tx(old, uint64(len(sizes)+1), 9, true)
	write(50)
	r.awaitValid(w, end().At)
	m := &model{}
	start := time.Now()
	r.consume(r.reader(nothing), m, end().At)
	if err := isHistory(m.committed, sizes...); err != nil {
		t.Error(err)
	}
	t.Logf("%d changes read in %s", len(m.committed), time.Since(start))
}
