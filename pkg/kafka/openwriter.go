package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/fault"
	"segue/pkg/frontier"
)

// OpenWriter reads the frontier topic, appends a claim, reads on up to it and stands ready to go on behind Resumed.
func OpenWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	w := &Writer{
		cfg: cfg, pace: cfg.Pace.withDefaults(),
		valid: make(chan Found, 1), broken: make(chan struct{}),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	for _, lane := range cfg.Lanes {
		w.topics = append(w.topics, cfg.LaneTopic(lane.Table))
	}
	var err error
	if w.limits, err = limitsOf(ctx, cfg, w.topics); err != nil {
		return nil, err
	}
	for _, topic := range w.topics {
		w.rooms = append(w.rooms, w.limits.room(topic))
	}
	w.lanes, err = cfg.Kafka.client(append(producerOpts(w.limits), kgo.ProducerBatchCompression(cfg.Compression.codec()))...)
	if err != nil {
		return nil, err
	}
	w.front, err = cfg.Kafka.client(append(append(producerOpts(w.limits), kgo.ProducerBatchCompression(kgo.NoCompression())), singleOpts()...)...)
	if err != nil {
		w.lanes.Close()
		return nil, err
	}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := w.open(ctx); err != nil {
		w.cancel()
		w.lanes.Close()
		w.front.Close()
		return nil, fmt.Errorf("open the writer of %s: %w", cfg.FrontierTopic, err)
	}
	w.tasks.Go(w.pump)
	return w, nil
}

// limitsOf asks how large the records of the lanes and of the frontier topic may be.
func limitsOf(ctx context.Context, cfg WriterConfig, laneTopics []string) (*limits, error) {
	client, err := cfg.Kafka.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return readLimits(ctx, client, slices.Compact(append(slices.Sorted(slices.Values(laneTopics)), cfg.FrontierTopic)), cfg.MaxRecord)
}

func (w *Writer) open(ctx context.Context) error {
	var (
		begins int64
		err    error
	)
	w.tape, w.log, err = folded(ctx, w.front, w.cfg.Codec, w.cfg.FrontierTopic, func(start, end int64) (int64, error) {
		begins = start
		return end, nil
	})
	if err != nil {
		return err
	}
	if begins > 0 && w.log.Boundary().Offset < 0 {
		return lost("the topic begins at %d and holds no boundary frontier", begins)
	}
	// Before the claim, so that a loss is found without taking over from anybody.
	if err := w.held(ctx, w.log.Boundary()); err != nil {
		return err
	}
	return w.takeOver(ctx, w.cfg.Upstream, none)
}

// none stands for an offset that there is not.
const none = -1

// takeOver claims, reads on up to the claim, opens the book behind the last valid boundary and starts the read-back. Where own names a
// claim of this Writer, another process's claim in between is an error.
func (w *Writer) takeOver(ctx context.Context, upstream, own int64) error {
	before := w.log.Boundary().Offset
	claim, err := w.append(ctx, upstream)
	if err != nil {
		return err
	}
	if err := w.tape.fold(ctx, w.log, claim); err != nil {
		return err
	}
	if other, _ := w.log.Claim(); own != none && other != own {
		return superseded(w.cfg.FrontierTopic, own, other)
	}
	if err := w.tape.fold(ctx, w.log, claim+1); err != nil {
		return err
	}
	resumed := w.log.Boundary().Clone()
	if resumed.Offset != before {
		if err := w.held(ctx, &resumed); err != nil {
			return err
		}
	}
	book := frontier.NewLedger(claim, w.cfg.Lanes, &resumed)
	w.mu.Lock()
	w.claim, w.resumed, w.book = claim, resumed, book
	w.sent, w.flying, w.last, w.boundary, w.inner, w.full = 0, 0, mark{}, nil, nil, time.Now()
	w.mu.Unlock()
	ctx, w.unread = context.WithCancel(w.ctx)
	w.reader.Go(func() { w.readBack(ctx, claim) })
	return nil
}

// append writes the claim and returns its offset.
func (w *Writer) append(ctx context.Context, upstream int64) (int64, error) {
	value, err := w.cfg.Codec.EncodeFrontier(frontier.Record{Claim: &frontier.Claim{
		Stage: w.cfg.Stage, Owner: w.cfg.Owner, Fingerprint: w.cfg.Fingerprint, Upstream: upstream, Written: time.Now().UnixMicro(),
	}})
	if err != nil {
		return 0, fault.Fatal(fmt.Errorf("encode the claim: %w", err), "")
	}
	r, err := w.front.ProduceSync(ctx, &kgo.Record{Topic: w.cfg.FrontierTopic, Value: value}).First()
	if err != nil {
		return 0, classify(fmt.Errorf("claim %s: %w", w.cfg.FrontierTopic, err))
	}
	if r.Offset < 0 {
		return 0, fault.Transient(fmt.Errorf("claim %s: kafka acknowledged it without its offset", w.cfg.FrontierTopic))
	}
	return r.Offset, nil
}

// held checks that every lane is at least as long as the state says: a shorter one means that Kafka lost data.
func (w *Writer) held(ctx context.Context, state *frontier.State) error {
	return laneEnds(ctx, w.lanes, w.cfg.LaneTopic, state)
}

func laneEnds(ctx context.Context, client *kgo.Client, topic func(string) string, state *frontier.State) error {
	lanes := state.LaneList()
	if len(lanes) == 0 {
		return nil
	}
	var topics []string
	for _, lane := range lanes {
		topics = append(topics, topic(lane.Table))
	}
	ends, err := offsets(kadm.NewClient(client).ListEndOffsets(ctx, slices.Compact(topics)...))
	if err != nil {
		return err
	}
	var short []error
	for _, lane := range lanes {
		want := state.Lanes[lane].End
		if got, ok := ends[topic(lane.Table)][lane.Partition]; got < want || !ok {
			short = append(short, lost("lane %s/%d ends at %d, the frontier at %s counts up to %d",
				topic(lane.Table), lane.Partition, got, state.At, want))
		}
	}
	return errors.Join(short...)
}
