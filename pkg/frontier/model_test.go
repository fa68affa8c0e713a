package frontier

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"segue/pkg/change"
)

// model runs one random schedule over a source history, a reader, a stage and a target.
type model struct {
	rnd     *rand.Rand
	lanes   []Lane
	history [][]int // transaction → lane of each change
	raw     *hop
	unique  *hop

	readers  []*writer
	progress []readerAt // where each reader is in the history
	slot     int        // index of the reader that holds the slot
	confirm  uint64     // the slot's confirmed transaction count

	stages []*stage

	target    *consumer
	cursor    Cursor
	committed []change.Position
}

type readerAt struct {
	tx, seq int
}

type stage struct {
	*writer
	in      *consumer
	partial bool // the last cut was inside a transaction
	drain   bool // an upstream claim came then: claim anew once everything sent is valid
}

func newModel(seed uint64) *model {
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := &model{rnd: rnd, lanes: laneNames(1 + rnd.IntN(4)), cursor: NewCursor()}
	for range 3 + rnd.IntN(12) {
		tx := make([]int, rnd.IntN(5))
		for i := range tx {
			tx[i] = rnd.IntN(len(m.lanes))
		}
		m.history = append(m.history, tx)
	}
	m.raw, m.unique = newHop(len(m.lanes)), newHop(len(m.lanes))
	return m
}

// NewCursor stands for a consumer that has taken nothing.
func NewCursor() Cursor { s := NewState(); return s.Cursor() }

func position(tx, seq int) change.Position {
	return change.Position{Epoch: 1, LSN: uint64(tx + 1), Seq: uint64(seq)}
}

// step does one random thing; calm leaves out everything that breaks.
func (m *model) step(calm bool) error {
	if !calm {
		switch m.rnd.IntN(60) {
		case 0:
			m.startReader()
		case 1:
			m.startStage()
		case 2:
			m.kill()
		case 3:
			return m.crashTarget()
		case 4:
			return m.trim()
		case 5:
			m.refuse()
		}
	}
	if len(m.readers) > 0 {
		i := m.rnd.IntN(len(m.readers))
		if calm {
			i = len(m.readers) - 1
		}
		if err := m.stepReader(i); err != nil {
			return fmt.Errorf("reader %d: %w", i, err)
		}
	}
	if len(m.stages) > 0 {
		i := m.rnd.IntN(len(m.stages))
		if calm {
			i = len(m.stages) - 1
		}
		if err := m.stepStage(m.stages[i]); err != nil {
			return fmt.Errorf("stage %d: %w", i, err)
		}
	}
	return m.stepTarget()
}

func (m *model) startReader() {
	m.readers = append(m.readers, newWriter(m.raw)) // it has got the slot: from here on no other confirms
	m.progress = append(m.progress, readerAt{})
	m.slot = len(m.readers) - 1
}

func (m *model) startStage() { m.stages = append(m.stages, &stage{writer: newWriter(m.unique)}) }

func (m *model) kill() {
	all := m.writers()
	if len(all) > 0 {
		all[m.rnd.IntN(len(all))].gone = true
	}
}

func (m *model) refuse() {
	all := m.writers()
	if len(all) > 0 {
		w := all[m.rnd.IntN(len(all))]
		w.refuse(m.rnd.IntN(len(m.lanes)))
	}
}

func (m *model) writers() []*writer {
	all := append([]*writer(nil), m.readers...)
	for _, s := range m.stages {
		all = append(all, s.writer)
	}
	return all
}

// network moves one thing of a writer's on: a record lands, an acknowledgement arrives, or, for a dead process, is lost.
func (m *model) network(w *writer) error {
	lane := m.rnd.IntN(len(m.lanes))
	switch m.rnd.IntN(5) {
	case 0:
		w.land(lane)
	case 1:
		w.ack(lane)
	case 2:
		w.landFrontier()
	case 3:
		_, err := w.readBack()
		return err
	default:
		if _, err := w.due(); err != nil {
			return err
		}
	}
	if w.gone && m.rnd.IntN(8) == 0 {
		w.out[lane] = nil
		if m.rnd.IntN(2) == 0 {
			w.front = nil
		}
	}
	return nil
}

func (m *model) stepReader(i int) error {
	w, at := m.readers[i], &m.progress[i]
	if err := m.network(w); err != nil || !w.alive() {
		return err
	}
	if w.ledger == nil {
		if w.inc < 0 {
			return nil
		}
		if err := w.open(m.lanes); err != nil {
			return err
		}
		if w.state.Confirm < m.confirm {
			return fmt.Errorf("the slot is at %d, the topic at %d: changes are lost", m.confirm, w.state.Confirm)
		}
		*at = readerAt{tx: int(w.state.Confirm)}
		return nil
	}
	if w.valid != nil && m.slot == i {
		m.confirm = max(m.confirm, w.valid.Confirm)
	}
	if m.rnd.IntN(2) == 0 {
		m.emit(w, at)
	}
	return nil
}

// emit writes the next change, or a cut.
func (m *model) emit(w *writer, at *readerAt) {
	if at.tx >= len(m.history) {
		return
	}
	tx := m.history[at.tx]
	if at.seq < len(tx) {
		w.append(tx[at.seq], position(at.tx, at.seq+1))
		at.seq++
		if m.rnd.IntN(5) == 0 && at.seq < len(tx) {
			w.ledger.Cut(Cut{At: position(at.tx, at.seq), Confirm: uint64(at.tx)}, w.ledger.Next(), false)
		}
		return
	}
	if m.rnd.IntN(2) == 0 || at.tx == len(m.history)-1 {
		w.ledger.Cut(Cut{At: position(at.tx, len(tx)), Boundary: true, Confirm: uint64(at.tx + 1)}, w.ledger.Next(), m.rnd.IntN(4) == 0)
	}
	at.tx, at.seq = at.tx+1, 0
}

func (m *model) stepStage(s *stage) error {
	if err := m.network(s.writer); err != nil || !s.alive() {
		return err
	}
	if s.ledger == nil {
		if s.inc < 0 {
			return nil
		}
		return m.openStage(s)
	}
	if s.drain {
		return m.reclaim(s)
	}
	m.fetch(s.in)
	event, ok, err := s.in.merger.Next()
	if err != nil || !ok {
		return err
	}
	if event.Claim != nil {
		s.drain = s.partial
		return nil
	}
	for _, msg := range event.Batch.Changes {
		s.append(msg.Lane, msg.Pos)
	}
	f := event.Batch.Frontier
	s.ledger.Cut(Cut{At: f.At, Boundary: f.Boundary, Confirm: uint64(event.Batch.Offset)}, s.ledger.Next(), f.Full)
	s.partial = !f.Boundary
	return nil
}

func (m *model) openStage(s *stage) error {
	if err := s.open(m.lanes); err != nil {
		return err
	}
	at := NewCursor()
	if s.state.Offset >= 0 {
		at = Cursor{Offset: int64(s.state.Confirm), At: s.state.At}
		at.Incarnation = m.raw.topic[at.Offset].Frontier.Incarnation
	}
	in, err := openConsumer(m.raw, m.lanes, at)
	s.in, s.partial = in, false
	return err
}

// reclaim waits until everything that the stage sent stands on its topic, then claims anew and goes on behind the
// upstream claim without going back: the last valid boundary frontier is then the last that it passed on.
func (m *model) reclaim(s *stage) error {
	if s.ledger.InFlight() > 0 || len(s.front) > 0 {
		return nil
	}
	if s.inc >= 0 && s.drain {
		s.front = append(s.front, Record{Claim: &Claim{}})
		before := s.inc
		if !s.landFrontier() || s.inc == before {
			return nil
		}
		if err := s.open(m.lanes); err != nil {
			return err
		}
		if got, want := s.state.At, s.in.merger.State().At; got != want {
			s.broken = true // somebody else claimed in between: a fresh start finds its way
			return nil
		}
		s.drain, s.partial = false, false
	}
	return nil
}

func (m *model) fetch(c *consumer) {
	if m.rnd.IntN(2) == 0 {
		c.fetchFrontier()
		return
	}
	c.fetchLane(m.rnd.IntN(len(m.lanes)))
}

func (m *model) stepTarget() error {
	if m.target == nil {
		return m.crashTarget()
	}
	m.fetch(m.target)
	event, ok, err := m.target.merger.Next()
	switch {
	case err != nil:
		return fmt.Errorf("target: %w", err)
	case !ok:
		return nil
	case event.Claim != nil:
		m.target.open = nil
		return nil
	}
	for _, msg := range event.Batch.Changes {
		m.target.open = append(m.target.open, msg.Pos)
	}
	if event.Batch.Frontier.Boundary {
		m.committed = append(m.committed, m.target.open...)
		m.target.open = nil
		s := m.target.merger.State()
		m.cursor = s.Cursor()
	}
	return nil
}

func (m *model) crashTarget() error {
	c, err := openConsumer(m.unique, m.lanes, m.cursor)
	m.target = c
	return err
}

// trim cuts both hops behind what the target has committed.
func (m *model) trim() error {
	if m.cursor.Offset < 0 {
		return nil
	}
	input := int64(m.unique.topic[m.cursor.Offset].Frontier.Confirm)
	if err := m.unique.trim(m.rnd, m.lanes, m.cursor.Offset); err != nil {
		return err
	}
	return m.raw.trim(m.rnd, m.lanes, input)
}

// check holds the one thing that counts: what was committed is the history, from its start, in order, each change once.
func (m *model) check(whole bool) error {
	var want []change.Position
	for tx := range m.history {
		for i := range m.history[tx] {
			want = append(want, position(tx, i+1))
		}
	}
	if len(m.committed) > len(want) || (whole && len(m.committed) < len(want)) {
		return fmt.Errorf("%d changes committed of %d", len(m.committed), len(want))
	}
	for i, pos := range m.committed {
		if pos != want[i] {
			return fmt.Errorf("change %d is %s, want %s", i, pos, want[i])
		}
	}
	return nil
}

func runModel(seed uint64) error {
	m := newModel(seed)
	for range 400 + m.rnd.IntN(1500) {
		if err := m.step(false); err != nil {
			return err
		}
		if err := m.check(false); err != nil {
			return err
		}
	}
	// From here on nothing breaks: one last reader and one last stage must bring the rest, whatever was left behind.
	m.startReader()
	m.startStage()
	for n := 0; n < 60_000; n++ {
		if err := m.step(true); err != nil {
			return fmt.Errorf("calm: %w", err)
		}
		if m.check(true) == nil {
			return nil
		}
		last := m.stages[len(m.stages)-1]
		if last.broken {
			m.startStage()
		}
	}
	return m.check(true)
}

// TestModel explores random interleavings of writers, zombies, crashes, refused batches, trimming and consumers (P1, P3, P4).
func TestModel(t *testing.T) {
	runs := 8_000
	if testing.Short() {
		runs = 2_000
	}
	for seed := range uint64(runs) {
		if err := runModel(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
