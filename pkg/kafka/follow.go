package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/frontier"
)

// Standing is where a frontier topic stands: what `status` shows of a stage.
type Standing struct {
	Claim  int64           // the incarnation in force, -1: none is known
	Holder *frontier.Claim // nil where trimming took it
	State  frontier.State  // at the last valid boundary frontier
	// Last is the newest valid frontier, nil where there is none; its Written gives the age of what is shown.
	Last *frontier.Frontier
	End  int64 // the offset behind the topic's last record
}

// Latest reads where a frontier topic stands, from its end: see Follow.
func Latest(ctx context.Context, cfg Config, codec Codec, topic string) (Standing, error) {
	f, err := Follow(ctx, cfg, codec, topic)
	if err != nil {
		return Standing{}, err
	}
	defer f.Close()
	return f.Standing(), nil
}

// Follower keeps up with a frontier topic. It is for one goroutine.
type Follower struct {
	client *kgo.Client
	tape   *tape
	log    *frontier.Log
	last   *frontier.Frontier
	end    int64
	each   func(frontier.Record) // told of each valid frontier; may be nil
}

// firstTail is how many records Follow tries to begin with.
const firstTail = 2000

// Follow reads the end of a frontier topic and stands there; Update goes on. Whether a frontier is valid can only be told from the
// claims before it, and a claim's first frontier lists everything: so it begins at a claim that a boundary
// frontier follows, found by reading from further and further back, in the end from the start.
func Follow(ctx context.Context, cfg Config, codec Codec, topic string) (*Follower, error) {
	client, err := cfg.client(singleOpts()...)
	if err != nil {
		return nil, err
	}
	f := &Follower{client: client}
	if err := f.open(ctx, codec, topic); err != nil {
		client.Close()
		return nil, fmt.Errorf("follow %s: %w", topic, err)
	}
	return f, nil
}

// followWhole stands at the start of the topic: the first Update reads all of it.
func followWhole(ctx context.Context, cfg Config, codec Codec, topic string) (*Follower, error) {
	client, err := cfg.client(singleOpts()...)
	if err != nil {
		return nil, err
	}
	start, _, err := bounds(ctx, client, topic)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("follow %s: %w", topic, err)
	}
	return &Follower{client: client, tape: newTape(client, codec, topic, start), log: frontier.NewLog(), end: start}, nil
}

func (f *Follower) open(ctx context.Context, codec Codec, topic string) error {
	start, end, err := bounds(ctx, f.client, topic)
	if err != nil {
		return err
	}
	for tail := int64(firstTail); ; tail *= 8 {
		from := max(start, end-tail)
		f.tape = newTape(f.client, codec, topic, from)
		f.log, f.last, f.end = frontier.NewLog(), nil, from
		whole := from == start
		found, err := f.read(ctx, end, whole)
		if err != nil && (whole || ctx.Err() != nil) {
			return err
		}
		if err == nil && (whole || found) {
			return nil
		}
		f.client.PurgeTopicsFromConsuming(topic)
	}
}

// read folds up to end. Where it does not begin at the start of the topic it leaves out what lies before the first
// claim, and says whether a boundary frontier followed one.
func (f *Follower) read(ctx context.Context, end int64, whole bool) (bool, error) {
	begun := whole
	for f.tape.at < end {
		rec, err := f.tape.next(ctx)
		if err != nil {
			return false, err
		}
		f.end = rec.Offset + 1
		if begun = begun || rec.Claim != nil; !begun {
			continue
		}
		verdict, err := f.log.Add(rec)
		if err != nil {
			return false, rule(f.tape.topic, err)
		}
		if verdict != frontier.Valid {
			continue
		}
		f.last = rec.Frontier
		if f.each != nil {
			f.each(rec)
		}
	}
	return f.log.Boundary().Offset >= 0, nil
}

// Update reads what came since.
func (f *Follower) Update(ctx context.Context) error {
	_, end, err := bounds(ctx, f.client, f.tape.topic)
	if err != nil {
		return err
	}
	_, err = f.read(ctx, end, true)
	return err
}

// Standing is where the topic stood at the last Update.
func (f *Follower) Standing() Standing {
	s := Standing{State: f.log.Boundary().Clone(), Last: f.last, End: f.end}
	s.Claim, s.Holder = f.log.Claim()
	return s
}

// Close ends the connections.
func (f *Follower) Close() { f.client.Close() }
