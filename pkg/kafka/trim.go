package kafka

import (
	"context"
	"time"

	"segue/pkg/frontier"
)

// Hop is one stage's topics.
type Hop struct {
	FrontierTopic string
	LaneTopic     func(tableTopic string) string
}

// TrimConfig says what a Trimmer trims.
type TrimConfig struct {
	Kafka Config
	Codec Codec
	// Hops from the one that the applier reads back to the reader's. Fused: the reader's alone.
	Hops []Hop
	// Requests is the requests topic, trimmed as far as the reader has handled it. "": none.
	Requests string
	// Window is how much stays behind the applied frontier: the target commits asynchronously, and what a crash there
	// takes back must still be here.
	Window time.Duration
	// Interval is how often Run trims.
	Interval time.Duration
	// Applied says how far the target is: the cursor of its progress row. Offset -1: nothing, nothing is trimmed.
	Applied func(context.Context) (frontier.Cursor, error)
	// Hold says, where it is not nil, whether something that runs (a replay) wants everything kept.
	Hold func() bool
}

// Trimmer deletes what is applied and older than the window. It cuts only at valid boundary frontiers that list all lanes, because the
// first record that trimming leaves on a frontier topic must be one. It is for one goroutine.
type Trimmer struct {
	cfg   TrimConfig
	admin *Admin
	hops  []*trimHop
}

// trimHop follows one hop and remembers where it may be cut.
type trimHop struct {
	Hop
	follower *Follower
	places   []place
}

// place is a full valid boundary frontier.
type place struct {
	offset, confirm, requests, written int64
}

// OpenTrimmer connects; the topics are read at the first Trim.
func OpenTrimmer(cfg TrimConfig) (*Trimmer, error) {
	admin, err := OpenAdmin(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	t := &Trimmer{cfg: cfg, admin: admin}
	for _, h := range cfg.Hops {
		t.hops = append(t.hops, &trimHop{Hop: h})
	}
	return t, nil
}

// Close ends the connections.
func (t *Trimmer) Close() {
	for _, h := range t.hops {
		if h.follower != nil {
			h.follower.Close()
		}
	}
	t.admin.Close()
}

// Run trims every interval until ctx ends or something fails.
func (t *Trimmer) Run(ctx context.Context) error {
	tick := time.NewTicker(t.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if t.cfg.Hold != nil && t.cfg.Hold() {
				continue
			}
			if err := t.Trim(ctx); err != nil {
				return err
			}
		}
	}
}

// Trim deletes once what may go now: in the last hop what lies the window behind the applied frontier, in each earlier one what the cut in
// the next one has taken in, because a frontier's confirm is the offset of its input's.
func (t *Trimmer) Trim(ctx context.Context) error {
	applied, err := t.cfg.Applied(ctx)
	if err != nil || applied.Offset < 0 {
		return err
	}
	last := t.hops[0]
	if err := t.follow(ctx, last); err != nil {
		return err
	}
	cut, ok := last.before(applied.Offset, t.cfg.Window)
	for n := 0; ok; n++ {
		if err := t.cut(ctx, t.hops[n], cut.offset); err != nil {
			return err
		}
		if n+1 == len(t.hops) {
			return t.requests(ctx, cut.requests)
		}
		next := t.hops[n+1]
		if err := t.follow(ctx, next); err != nil {
			return err
		}
		cut, ok = next.before(cut.confirm, 0)
	}
	return nil
}

// before returns the newest place at or before the frontier with the offset that is at least the window older than it.
func (h *trimHop) before(offset int64, window time.Duration) (place, bool) {
	until, found := int64(0), false
	for i := len(h.places) - 1; i >= 0; i-- {
		p := h.places[i]
		if p.offset > offset {
			continue
		}
		if !found {
			until, found = p.written-window.Microseconds(), true
		}
		if p.written <= until {
			h.places = h.places[i:]
			return p, true
		}
	}
	return place{}, false
}

// follow reads what came on the hop's frontier topic since the last time.
func (t *Trimmer) follow(ctx context.Context, h *trimHop) error {
	if h.follower == nil {
		f, err := followWhole(ctx, t.cfg.Kafka, t.cfg.Codec, h.FrontierTopic)
		if err != nil {
			return err
		}
		h.follower = f
		f.each = func(rec frontier.Record) { h.note(rec, t.cfg.Window/64) }
	}
	return h.follower.Update(ctx)
}

// note keeps the places that are a step apart at least: their number is bounded by the window and the backlog, not by the traffic.
func (h *trimHop) note(rec frontier.Record, step time.Duration) {
	f := rec.Frontier
	if !f.Full || !f.Boundary {
		return
	}
	if n := len(h.places); n > 0 && f.Written-h.places[n-1].written < step.Microseconds() {
		return
	}
	h.places = append(h.places, place{
		offset: rec.Offset, confirm: int64(f.Confirm), requests: f.Requests, written: f.Written,
	})
}

// cut deletes what lies before the frontier at the offset: the lanes first, so that a crash in between leaves frontiers
// without changes, never changes without frontiers.
func (t *Trimmer) cut(ctx context.Context, h *trimHop, offset int64) error {
	starts, err := t.admin.Starts(ctx, h.FrontierTopic)
	if err != nil || starts[h.FrontierTopic][0] >= offset {
		return err
	}
	f, err := t.record(ctx, h.FrontierTopic, offset)
	if err != nil {
		return err
	}
	below := make(Offsets)
	for _, e := range f.Lanes {
		topic := h.LaneTopic(e.Lane.Table)
		if below[topic] == nil {
			below[topic] = make(map[int32]int64)
		}
		below[topic][e.Lane.Partition] = e.End
	}
	for topic, partitions := range below {
		if err := t.admin.Trim(ctx, topic, partitions); err != nil {
			return err
		}
	}
	return t.admin.Trim(ctx, h.FrontierTopic, map[int32]int64{0: offset})
}

// record reads the frontier at an offset again: places do not keep the lanes.
func (t *Trimmer) record(ctx context.Context, topic string, offset int64) (*frontier.Frontier, error) {
	items, err := OpenItems(t.cfg.Kafka, topic, offset)
	if err != nil {
		return nil, err
	}
	defer items.Close()
	item, err := items.Next(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := decode(t.cfg.Codec, topic, item)
	if err != nil {
		return nil, err
	}
	if rec.Frontier == nil || !rec.Frontier.Full || !rec.Frontier.Boundary {
		return nil, lost("trim %s: the record at %d is no full frontier any more", topic, offset)
	}
	return rec.Frontier, nil
}

func (t *Trimmer) requests(ctx context.Context, handled int64) error {
	if t.cfg.Requests == "" || handled <= 0 {
		return nil
	}
	return t.admin.Trim(ctx, t.cfg.Requests, map[int32]int64{0: handled})
}
