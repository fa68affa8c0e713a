package kafka_test

import (
	"errors"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/kafka"
)

func TestWhatIsWrittenIsReadInOrder(t *testing.T) {
	r, _ := fakeRig(t)
	w := r.writer()
	sizes := []int{1, 7, 0, 30, 2}
	for n, size := range sizes {
		r.mustTx(w, uint64(n+1), size)
	}
	f := r.awaitValid(w, at(5, 2))
	if f.Frontier.Confirm != 5 {
		t.Errorf("the valid frontier confirms %d, want 5", f.Frontier.Confirm)
	}
	m := &model{}
	r.consume(r.reader(nothing), m, at(5, 2))
	if err := isHistory(m.committed, sizes...); err != nil {
		t.Error(err)
	}
	if m.claims != 1 {
		t.Errorf("%d claims seen, want 1", m.claims)
	}
}

func TestReaderResumesBehindItsCursor(t *testing.T) {
	r, _ := fakeRig(t)
	w := r.writer()
	for n := range 10 {
		r.mustTx(w, uint64(n+1), 5)
	}
	m := &model{}
	r.consume(r.reader(nothing), m, at(4, 5))
	r.consume(r.reader(m.cursor), m, at(10, 5))
	if err := isHistory(m.committed, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5); err != nil {
		t.Error(err)
	}
}

func TestCrashedWriterResumesBehindItsLastBoundary(t *testing.T) {
	r, _ := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 5)
	r.awaitValid(w, at(1, 5))
	// Half of the second transaction, then a crash.
	r.mustPart(w, 2, 0, 4)
	if err := w.Close(r.ctx()); err != nil {
		t.Fatal(err)
	}
	w = r.writer()
	if s := w.Resumed(); s.At != at(1, 5) || s.Confirm != 1 {
		t.Fatalf("resumed at %s, confirm %d", s.At, s.Confirm)
	}
	r.mustTx(w, 2, 8)
	m := &model{}
	r.consume(r.reader(nothing), m, at(2, 8))
	if err := isHistory(m.committed, 5, 8); err != nil {
		t.Error(err)
	}
	if m.claims != 2 {
		t.Errorf("%d claims seen, want 2", m.claims)
	}
}

// P1: a paused process that wakes up writes nothing that counts, and stops.
func TestZombieWriterIsVoidAndStops(t *testing.T) {
	r, _ := fakeRig(t)
	old := r.writer()
	r.mustTx(old, 1, 5)
	r.awaitValid(old, at(1, 5))
	young := r.writer()
	err := r.tx(old, 2, 9, true) // may be refused at once or land behind the claim: either is fine
	if broken := r.awaitBroken(old); !errors.Is(broken, kafka.ErrSuperseded) || fault.ClassOf(broken) != fault.ClassFatal {
		t.Errorf("the older writer ends with %v (append: %v), want ErrSuperseded", broken, err)
	}
	if err := r.tx(old, 3, 1, true); !errors.Is(err, kafka.ErrSuperseded) {
		t.Errorf("a broken writer takes a change: %v", err)
	}
	r.mustTx(young, 2, 3)
	m := &model{}
	r.consume(r.reader(nothing), m, at(2, 3))
	if err := isHistory(m.committed, 5, 3); err != nil {
		t.Error(err)
	}
}

func TestReclaimTakesBackBehindTheLastBoundary(t *testing.T) {
	r, _ := fakeRig(t)
	w := r.writer()
	r.mustTx(w, 1, 5)
	r.mustPart(w, 2, 0, 4)
	first := w.Incarnation()
	if err := w.Reclaim(r.ctx(), 77); err != nil {
		t.Fatal(err)
	}
	if s := w.Resumed(); s.At != at(1, 5) || w.Incarnation() <= first {
		t.Fatalf("resumed at %s with claim %d after %d", s.At, w.Incarnation(), first)
	}
	r.mustTx(w, 2, 6)
	r.awaitValid(w, at(2, 6))
	m := &model{}
	r.consume(r.reader(nothing), m, at(2, 6))
	if err := isHistory(m.committed, 5, 6); err != nil {
		t.Error(err)
	}
}
