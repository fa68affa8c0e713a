package kafka_test

import (
	"testing"
	"time"

	"segue/pkg/kafka"
)

// A lone transaction is cut at once; those that follow on its heels share a frontier, although none is in flight any more.
func TestCutsRest(t *testing.T) {
	r, _ := fakeRig(t)
	r.pace = kafka.Pace{Rest: time.Hour, Delay: time.Hour, Changes: 1 << 30, Bytes: 1 << 40}
	w := r.writer()
	if err := r.tx(w, 1, 3, false); err != nil {
		t.Fatal(err)
	}
	r.awaitValid(w, at(1, 3))
	for lsn := uint64(2); lsn <= 4; lsn++ {
		if err := r.tx(w, lsn, 3, lsn == 4); err != nil { // the last one presses
			t.Fatal(err)
		}
	}
	r.awaitValid(w, at(4, 3))
	rd, m, batches := r.reader(nothing), &model{}, 0
	for m.cursor.At.Before(at(4, 3)) {
		e, err := rd.Next(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if e.Batch != nil {
			batches++
		}
		if err := m.take(e); err != nil {
			t.Fatal(err)
		}
	}
	if batches != 2 {
		t.Errorf("%d frontiers, want 2", batches)
	}
	if err := isHistory(m.committed, 3, 3, 3, 3); err != nil {
		t.Error(err)
	}
}
