package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/fault"
	"segue/pkg/frontier"
)

// ReaderConfig says which hop a Reader reads, and from where.
type ReaderConfig struct {
	Kafka         Config
	FrontierTopic string
	LaneTopic     func(tableTopic string) string
	Lanes         []frontier.Lane // Message.Lane is an index here
	Codec         Codec
	// From is the last frontier that the consumer has made durable: it goes on behind it. Incarnation -1: whichever.
	From frontier.Cursor
	// Fingerprint of the mapping that the consumer works by; changes written by another one are an error. "": any.
	Fingerprint string
	// MaxAheadBytes bounds the records that wait for their frontier (64 MiB): above it only the lanes that the oldest
	// frontier needs are read on.
	MaxAheadBytes int
}

// maxQueued bounds the frontier records that wait for their lanes.
const maxQueued = 4096

// Reader reads a hop: it implements frontier.Source[frontier.Message]. It reads only inside Next and Ready; the client keeps one fetch ready
// beside. It is for one goroutine.
type Reader struct {
	cfg    ReaderConfig
	client *kgo.Client
	merger *frontier.Merger
	writer *frontier.Claim // the claim in force at the last event, nil where trimming took it
	front  int64           // the next offset of the frontier topic
	lanes  []int64         // the next offset of each lane
	index  map[string]map[int32]int
	size   fetchSize
	paused []bool // lanes, and last the frontier topic
	event  *frontier.Event[frontier.Message]
	err    error
}

// OpenReader folds the frontier topic up to the cursor, checks that the frontier there is the cursor's and starts to read behind it.
func OpenReader(ctx context.Context, cfg ReaderConfig) (*Reader, error) {
	cfg.MaxAheadBytes = orDefault(cfg.MaxAheadBytes, 64<<20)
	size := newFetchSize(cfg.MaxAheadBytes)
	client, err := cfg.Kafka.client(append(consumerOpts(), kgo.FetchMaxWait(laneWait),
		kgo.FetchMaxBytes(size.now), kgo.FetchMaxPartitionBytes(size.partition()))...)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		cfg: cfg, client: client, size: size, lanes: make([]int64, len(cfg.Lanes)),
		index: make(map[string]map[int32]int), paused: make([]bool, len(cfg.Lanes)+1),
	}
	if err := r.open(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("open the reader of %s: %w", cfg.FrontierTopic, err)
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context) error {
	tape, log, err := folded(ctx, r.client, r.cfg.Codec, r.cfg.FrontierTopic, r.within)
	if err != nil {
		return err
	}
	if err := r.same(log); err != nil {
		return err
	}
	if err := laneEnds(ctx, r.client, r.cfg.LaneTopic, log.Boundary()); err != nil {
		return err
	}
	_, r.writer = log.Claim()
	r.merger = frontier.NewMerger(log, r.cfg.Lanes)
	if err := r.leave(ctx); err != nil {
		return err
	}
	r.consumeLanes()
	r.front = tape.at
	for _, rec := range tape.got { // fetched along with what was folded
		if err := r.frontierRecord(rec); err != nil {
			return err
		}
	}
	return nil
}

// within checks that trimming left what the cursor needs and returns the offset behind it.
func (r *Reader) within(start, end int64) (int64, error) {
	from := r.cfg.From
	switch {
	case from.Offset < 0 && start > 0:
		return 0, lost("nothing was taken from the topic yet, and it begins at %d", start)
	case from.Offset >= 0 && from.Offset < start:
		return 0, lost("the cursor is at %d (%s), the topic begins at %d", from.Offset, from.At, start)
	case from.Offset >= end:
		return 0, lost("the cursor is at %d (%s), the topic ends at %d", from.Offset, from.At, end)
	}
	return from.Offset + 1, nil
}

// same checks that the frontier at the cursor's offset is the cursor's own.
func (r *Reader) same(log *frontier.Log) error {
	from := r.cfg.From
	if from.Offset < 0 {
		return nil
	}
	at := log.Boundary()
	if at.Offset == from.Offset && at.At == from.At && (from.Incarnation < 0 || from.Incarnation == at.Incarnation) {
		return nil
	}
	err := fmt.Errorf("offset %d is not the frontier at %s (claim %d) that was taken from there: the last boundary frontier up to it is at %s (claim %d, offset %d)",
		from.Offset, from.At, from.Incarnation, at.At, at.Incarnation, at.Offset)
	return fault.Fatal(err, "the topic is not the one that this consumer worked on; was it deleted and made again? A resync goes on")
}

// leave looks at the tables that the topic has and this consumer does not. Those that were taken out of the migration it passes over: what the
// topic still holds of them is nobody's. Any other is one that this consumer would lose in silence: it has an older file.
func (r *Reader) leave(ctx context.Context) error {
	now, err := Latest(ctx, r.cfg.Kafka, r.cfg.Codec, r.cfg.FrontierTopic)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	for _, lane := range r.cfg.Lanes {
		own[lane.Table] = true
	}
	for _, lane := range now.State.LaneList() {
		switch {
		case own[lane.Table]:
		case now.State.Left(lane.Table):
			r.merger.Leave(lane.Table)
		default:
			return fault.Transient(fmt.Errorf("table %s is in the topic and not in this process's migration: waiting until the reader has left it out, or until this process is started with the file that has it", lane.Table))
		}
	}
	return nil
}

func (r *Reader) consumeLanes() {
	start := make(map[string]map[int32]kgo.Offset)
	for i, lane := range r.cfg.Lanes {
		topic := r.cfg.LaneTopic(lane.Table)
		if start[topic] == nil {
			start[topic] = make(map[int32]kgo.Offset)
			r.index[topic] = make(map[int32]int)
		}
		r.index[topic][lane.Partition] = i
		r.lanes[i] = r.merger.Start(i)
		start[topic][lane.Partition] = kgo.NewOffset().At(r.lanes[i])
	}
	r.client.AddConsumePartitions(start)
}

// State is the state at the last boundary batch that Next returned (or Ready found).
func (r *Reader) State() frontier.State { return r.merger.State().Clone() }

// Held is how many bytes of lane records wait for their frontier.
func (r *Reader) Held() int { return r.merger.Held() }

// Close ends the connections. Closing twice is fine.
func (r *Reader) Close() {
	topics := append(slices.Collect(maps.Keys(r.index)), r.cfg.FrontierTopic)
	r.client.PurgeTopicsFromConsuming(topics...) // else a fetch that starts now meets the end of its session
	r.client.Close()
}

// Next returns the next batch or claim and waits for it. Errors other than a done context are for good.
func (r *Reader) Next(ctx context.Context) (frontier.Event[frontier.Message], error) {
	for {
		if event := r.event; event != nil {
			r.event = nil
			return *event, nil
		}
		if r.err != nil {
			return frontier.Event[frontier.Message]{}, r.err
		}
		if r.judge(); r.event == nil && r.err == nil {
			r.steer()
			if err := r.poll(ctx); err != nil {
				return frontier.Event[frontier.Message]{}, err
			}
		}
	}
}

// Ready says whether Next would return at once. It looks at what the client has fetched already.
func (r *Reader) Ready() bool {
	if r.event != nil || r.err != nil {
		return true
	}
	r.judge()
	if r.event == nil && r.err == nil {
		r.steer()
		r.feed(r.client.PollRecords(nil, 0)) //nolint:staticcheck // nil: do not wait
		r.judge()
	}
	return r.event != nil || r.err != nil
}

// judge takes the merger's next event, where there is one.
func (r *Reader) judge() {
	event, ok, err := r.merger.Next()
	switch {
	case err != nil:
		r.err = rule(r.cfg.FrontierTopic, err)
	case !ok:
	case event.Claim != nil:
		r.writer = event.Claim.Claim
		r.event = &event
	case r.cfg.Fingerprint != "" && r.writer != nil && r.writer.Fingerprint != r.cfg.Fingerprint:
		err := fmt.Errorf("read %s at %s: %s wrote it: %w", r.cfg.FrontierTopic, event.Batch.Frontier.At, r.writer.Owner, ErrFingerprint)
		r.err = fault.Fatal(err, "the mapping was changed before all that the former one made was applied: read it again as it came from the source: segue run all --stages fused --accept-mapping (or run applier, likewise); when it has caught up, any mode will do")
	default:
		r.event = &event
	}
}

// poll waits for the client and feeds the merger. A done context is not for good.
func (r *Reader) poll(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fetches := r.client.PollRecords(ctx, 0)
	if err := fetches.Err0(); err != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && ctx.Err() != nil {
		return ctx.Err()
	}
	r.feed(fetches)
	return nil
}

// feed hands on what was fetched; an error comes behind it.
func (r *Reader) feed(fetches kgo.Fetches) {
	before := r.merger.Held()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if r.err == nil {
			r.err = r.partition(&p)
		}
	})
	if r.size.learn(r.merger.Held() - before) {
		r.client.UpdateFetchMaxBytes(r.size.now, r.size.partition())
	}
	if r.err == nil {
		r.err = fetchError(fetches)
	}
}

func (r *Reader) partition(p *kgo.FetchTopicPartition) error {
	if p.Topic == r.cfg.FrontierTopic {
		for _, rec := range p.Records {
			if err := r.frontierRecord(rec); err != nil {
				return err
			}
		}
		return nil
	}
	lane, ok := r.index[p.Topic][p.Partition]
	if !ok {
		return nil
	}
	for _, rec := range p.Records {
		if err := r.laneRecord(lane, rec); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) frontierRecord(rec *kgo.Record) error {
	if rec.Offset != r.front {
		return lost("read %s: offset %d follows %d", rec.Topic, rec.Offset, r.front-1)
	}
	r.front++
	record, err := decode(r.cfg.Codec, rec.Topic, Item{Offset: rec.Offset, Value: rec.Value})
	if err != nil {
		return err
	}
	r.merger.Frontier(record)
	return nil
}

func (r *Reader) laneRecord(lane int, rec *kgo.Record) error {
	if rec.Offset != r.lanes[lane] {
		return lost("read %s/%d: offset %d follows %d", rec.Topic, rec.Partition, rec.Offset, r.lanes[lane]-1)
	}
	r.lanes[lane]++
	incarnation, pos, err := header(rec)
	if err != nil {
		return fault.Fatal(err, "only segue writes to its topics")
	}
	r.merger.Lane(lane, frontier.Message{
		Lane: lane, Offset: rec.Offset, Incarnation: incarnation, Pos: pos, Key: rec.Key, Value: rec.Value,
	})
	return nil
}
