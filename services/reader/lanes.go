package reader

import (
	"context"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/table"
)

// lanes encodes changes and puts each on the lane of its key.
type lanes struct {
	writer     Writer
	partitions int32
	tables     map[*table.Table]laneTable
	key, value []byte // scratch
	slab       []byte // what the writer keeps is carved from here
}

type laneTable struct {
	encoder Encoder
	first   int // the index of the table's lane 0
}

const slabSize = 256 << 10

// laneList is every lane of the migration, in the order of the indices that the writer knows them by.
func laneList(tables []*table.Table, partitions int32) []frontier.Lane {
	var out []frontier.Lane
	for _, t := range tables {
		for p := range partitions {
			out = append(out, frontier.Lane{Table: t.Name.Topic(), Partition: p})
		}
	}
	return out
}

// alias lets rows of an older shape go to the lanes of their table.
func (l *lanes) alias(older, present *table.Table, e Encoder) {
	l.tables[older] = laneTable{encoder: e, first: l.tables[present].first}
}

func newLanes(w Writer, tables []*table.Table, encoders []Encoder, partitions int32) *lanes {
	l := &lanes{writer: w, partitions: partitions, tables: make(map[*table.Table]laneTable, len(tables))}
	for i, t := range tables {
		l.tables[t] = laneTable{encoder: encoders[i], first: i * int(partitions)}
	}
	return l
}

// put appends a change to the lane of its key: of the old key where that changed, for there the row has been until now. A
// truncate concerns every lane of its table and goes to the first; consumers merge by position. So does everything of a table without key:
// equal rows have to keep their order. What the lane does not take becomes a stub, in place: c says so afterwards.
func (l *lanes) put(ctx context.Context, c *change.Change) (int, error) {
	t, ok := l.tables[c.Table]
	if !ok {
		return 0, fmt.Errorf("%s of %s at %s: the table is not one of this stream's", c.Op, c.Table.Name, c.Pos)
	}
	var err error
	l.key = l.key[:0]
	lane := t.first
	if c.Op != change.Truncate && !c.Table.Keyless() {
		if l.key, err = t.encoder.AppendKey(l.key, c.Key()); err != nil {
			return 0, l.encodeError(c, err)
		}
		lane += int(t.encoder.Lane(l.key, l.partitions))
	}
	if err = l.fitted(t, c, l.writer.Room(lane)); err != nil {
		return 0, err
	}
	size := len(l.key) + len(l.value)
	return size, l.writer.Append(ctx, lane, c.Pos, l.keep(l.key), l.handOver())
}

// handOver gives the value away: a large one as it is, so that it is not held twice and the scratch does not stay that large.
func (l *lanes) handOver() []byte {
	if len(l.value) < slabSize {
		return l.keep(l.value)
	}
	b := l.value
	l.value = nil
	return b
}

func (l *lanes) encodeError(c *change.Change, err error) error {
	return fault.Fatal(fmt.Errorf("encode %s of %s at %s: %w", c.Op, c.Table.Name, c.Pos, err), "")
}

// keep copies bytes to where they may stay: the writer owns them until Kafka has them.
func (l *lanes) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if cap(l.slab)-len(l.slab) < len(b) {
		l.slab = make([]byte, 0, max(slabSize, len(b)))
	}
	at := len(l.slab)
	l.slab = append(l.slab, b...)
	return l.slab[at:len(l.slab):len(l.slab)]
}
