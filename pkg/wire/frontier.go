package wire

import (
	"context"
	"errors"
	"fmt"

	"segue/pkg/frontier"
	"segue/schemas"
)

// Frontiers is the codec of a frontier topic. It is safe for concurrent use.
type Frontiers struct{ value *subject }

// NewFrontiers registers <topic>-value.
func NewFrontiers(ctx context.Context, reg Registry, topic string) (*Frontiers, error) {
	value, err := register(ctx, reg, topic+"-value", schemas.Frontier)
	if err != nil {
		return nil, err
	}
	return &Frontiers{value: value}, nil
}

// The branches of a frontier topic's record.
const (
	recordClaim    = 0
	recordFrontier = 1
)

// EncodeFrontier returns the framed record; its Offset is Kafka's to give.
func (f *Frontiers) EncodeFrontier(r frontier.Record) ([]byte, error) {
	b := f.value.frame(nil)
	switch {
	case (r.Claim == nil) == (r.Frontier == nil):
		return nil, errors.New("encode frontier record: want a claim or a frontier, one of them")
	case r.Claim != nil:
		return appendClaim(appendLong(b, recordClaim), r.Claim), nil
	}
	return appendFrontier(appendLong(b, recordFrontier), r.Frontier), nil
}

func appendClaim(b []byte, c *frontier.Claim) []byte {
	b = appendBytes(b, c.Stage)
	b = appendBytes(b, c.Owner)
	b = appendBytes(b, c.Fingerprint)
	b = appendLong(b, c.Upstream)
	return appendLong(b, c.Written)
}

func appendFrontier(b []byte, f *frontier.Frontier) []byte {
	b = appendLong(b, f.Incarnation)
	b = appendPosition(appendPosition(b, f.Prev), f.At)
	b = appendCount(b, len(f.Lanes))
	for i := range f.Lanes {
		l := &f.Lanes[i]
		b = appendLong(appendBytes(b, l.Lane.Table), int64(l.Lane.Partition))
		b = appendLong(appendLong(appendLong(b, l.End), l.Count), l.Total)
	}
	b = appendEnd(b, len(f.Lanes))
	b = appendBool(appendBool(b, f.Full), f.Boundary)
	b = appendLong(appendUnsigned(b, f.Confirm), f.Requests)
	b = appendCount(b, len(f.Loads))
	for i := range f.Loads {
		b = appendLoad(b, &f.Loads[i])
	}
	b = appendEnd(b, len(f.Loads))
	b = appendBool(b, f.Loaded)
	b = appendCount(b, len(f.Marks))
	for _, m := range f.Marks {
		b = appendPosition(appendBytes(appendBytes(b, m.ID), m.Kind), m.At)
	}
	b = appendEnd(b, len(f.Marks))
	b = appendLong(appendLong(b, f.Committed), f.Written)
	return appendBytes(b, f.Source)
}

func appendLoad(b []byte, l *frontier.Load) []byte {
	b = appendName(appendName(b, l.Table), l.Leaf)
	b = appendLong(appendLong(b, int64(l.Filenode)), int64(l.Blocks))
	b = appendCount(b, len(l.Done))
	for _, r := range l.Done {
		b = appendLong(appendLong(b, int64(r.From)), int64(r.To))
	}
	b = appendBool(appendEnd(b, len(l.Done)), l.Complete)
	return appendBytes(b, l.Shape)
}

// DecodeFrontier reads a framed record. Lists without entries come back as nil.
func (f *Frontiers) DecodeFrontier(b []byte) (frontier.Record, error) {
	c, err := f.value.open(b)
	if err != nil {
		return frontier.Record{}, err
	}
	var r frontier.Record
	if c.index(2) == recordClaim {
		r.Claim = decodeClaim(&c)
	} else {
		r.Frontier = decodeFrontier(&c)
	}
	if err := c.done(); err != nil {
		return frontier.Record{}, fmt.Errorf("decode %s: %w", f.value.name, err)
	}
	return r, nil
}

func decodeClaim(c *cursor) *frontier.Claim {
	return &frontier.Claim{
		Stage: c.string(), Owner: c.string(), Fingerprint: c.string(),
		Upstream: c.long(), Written: c.long(),
	}
}

func decodeFrontier(c *cursor) *frontier.Frontier {
	f := &frontier.Frontier{Incarnation: c.long(), Prev: decodePosition(c), At: decodePosition(c)}
	f.Lanes = decodeList(c, laneDecoder())
	f.Full, f.Boundary = c.bool(), c.bool()
	f.Confirm, f.Requests = c.unsigned(), c.long()
	f.Loads = decodeList(c, decodeLoad)
	f.Loaded = c.bool()
	f.Marks = decodeList(c, decodeMark)
	f.Committed, f.Written = c.long(), c.long()
	f.Source = c.string()
	return f
}

// laneDecoder decodes one lane after the other; lanes of one table share its name.
func laneDecoder() func(*cursor) frontier.LaneEnd {
	last := ""
	return func(c *cursor) frontier.LaneEnd {
		if name := c.bytes(); string(name) != last {
			last = string(name)
		}
		return frontier.LaneEnd{
			Lane: frontier.Lane{Table: last, Partition: c.int32()},
			End:  c.long(), Count: c.long(), Total: c.long(),
		}
	}
}

func decodeLoad(c *cursor) frontier.Load {
	return frontier.Load{
		Table: decodeName(c), Leaf: decodeName(c),
		Filenode: c.uint32(), Blocks: c.uint32(),
		Done:     decodeList(c, decodeRange),
		Complete: c.bool(), Shape: c.string(),
	}
}

func decodeRange(c *cursor) frontier.Range {
	return frontier.Range{From: c.uint32(), To: c.uint32()}
}

func decodeMark(c *cursor) frontier.Mark {
	return frontier.Mark{ID: c.string(), Kind: c.string(), At: decodePosition(c)}
}
