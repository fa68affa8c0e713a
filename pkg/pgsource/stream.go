package pgsource

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pglogrepl"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// The defaults of a StreamConfig.
const (
	DefaultStatusEvery = time.Second
	DefaultBuffer      = 8 << 20
)

// StreamConfig says what to follow.
type StreamConfig struct {
	URL, App          string
	Slot, Publication string
	// Start is the position to begin at. The server begins at the slot's confirmed position where that is later, in
	// silence: who resumes compares Inspect's with its own. 0: where the slot is.
	Start uint64
	// Shapes of the selected tables, as postgres.Tables gives them; partitioned tables by their roots.
	Shapes []*table.Table
	// StatusEvery is the time between two status messages.
	StatusEvery time.Duration
	// Buffer bounds the bytes that are received and not yet taken; one message more may be held.
	Buffer int
}

// Stream yields a slot's events. Next and Ignore are for one goroutine, the other methods for any.
type Stream struct {
	receiver  *receiver
	relations *relations
	decoder   Decoder
	message   Decoded
	piece     []byte
	tx        change.Tx
	inTx      bool
	again     bool // the message that was looked at last comes again
}

// OpenStream takes the slot and starts its stream. It fails with a transient error while another process has the slot.
func OpenStream(ctx context.Context, cfg StreamConfig) (*Stream, error) {
	if err := checkSlotName(cfg.Slot); err != nil {
		return nil, err
	}
	var paced *pacedConn
	conn, err := postgres.ConnectReplicationOver(ctx, cfg.URL, cfg.App, func(c net.Conn) net.Conn {
		paced = newPacedConn(c)
		return paced
	})
	if err != nil {
		return nil, err
	}
	err = pglogrepl.StartReplication(ctx, conn, table.Quote(cfg.Slot), pglogrepl.LSN(cfg.Start), pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", "publication_names " + literal(table.Quote(cfg.Publication)), "messages 'true'"},
	})
	if err != nil {
		_ = conn.Close(ctx)
		return nil, startError(cfg.Slot, err)
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("stream slot %s: %w", cfg.Slot, postgres.Safe(err))
	}
	if cfg.StatusEvery == 0 {
		cfg.StatusEvery = DefaultStatusEvery
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	return &Stream{receiver: newReceiver(hijacked, paced, cfg.Buffer, cfg.StatusEvery), relations: newRelations(cfg.Shapes)}, nil
}

// Next returns the next event. It blocks until there is one; a cancelled context leaves the stream as it was. After a
// lost connection it returns what had been received, then the reason.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	for {
		if len(s.piece) == 0 {
			piece, err := s.receiver.queue.take(ctx)
			if err != nil {
				return Event{}, err
			}
			s.piece = piece
		}
		size := int(binary.BigEndian.Uint32(s.piece))
		b := s.piece[frame : frame+size]
		s.again = false
		event, err := s.event(b)
		if !s.again {
			s.piece = s.piece[frame+size:]
		}
		if err != nil {
			s.receiver.end(err)
			return Event{}, err
		}
		if event.Kind != 0 {
			return event, nil
		}
	}
}

// Ready says whether Next would return without waiting for the server.
func (s *Stream) Ready() bool {
	pieces, _ := s.receiver.queue.held()
	return len(s.piece) > 0 || pieces > 0
}

// Confirm lets the server forget everything before lsn: an end LSN of a commit, or a keepalive's position. It is told
// with the next status. A lower one than before is ignored.
func (s *Stream) Confirm(lsn uint64) {
	for {
		old := s.receiver.confirmed.Load()
		if lsn <= old || s.receiver.confirmed.CompareAndSwap(old, lsn) {
			return
		}
	}
}

// Ignore leaves the rows of a relation out from now on: of a table that is no longer selected, and that the log still has.
func (s *Stream) Ignore(oid uint32) { s.relations.ignore[oid] = true }

// Follow gives the rows of a relation by another shape from now on, until the log describes the relation anew.
func (s *Stream) Follow(oid uint32, t *table.Table) { s.relations.follow(oid, t) }

// Received is how far the server has sent its log, and how many bytes of that wait to be taken.
func (s *Stream) Received() (lsn uint64, waiting int) {
	_, waiting = s.receiver.queue.held()
	return s.receiver.received.Load(), waiting
}

// Close reports what was confirmed and gives the slot back. Twice is fine.
func (s *Stream) Close() { s.receiver.close() }

// event decodes one message; Kind 0 is one that only the stream needs.
func (s *Stream) event(b []byte) (Event, error) {
	if b[0] == 'k' {
		if s.inTx {
			return Event{}, nil // it speaks of what came before this transaction
		}
		return Event{Kind: KindKeepalive, ServerEnd: binary.BigEndian.Uint64(b[1:])}, nil
	}
	m := &s.message
	if err := s.decoder.Decode(b[1:], m); err != nil {
		return Event{}, err
	}
	switch m.Type {
	case 'I', 'U', 'D':
		return s.change(&m.Row, m.Type)
	case 'B':
		s.tx, s.inTx = change.Tx{XID: m.Begin.XID, Committed: m.Begin.CommitTime}, true
		return Event{Kind: KindBegin, Begin: m.Begin}, nil
	case 'C':
		s.inTx = false
		return Event{Kind: KindCommit, Commit: m.Commit}, nil
	case 'R':
		if diff := s.relations.learn(m.Relation); diff != nil {
			return Event{Kind: KindSchema, Schema: diff}, nil
		}
	case 'Y':
		s.relations.types[m.TypeName.OID] = table.Name{Schema: m.TypeName.Schema, Table: m.TypeName.Name}.String()
	case 'T':
		return s.truncate(&m.Truncate)
	case 'M':
		msg := m.Message
		return Event{Kind: KindMessage, Message: &msg}, nil
	case 'O':
		origin := m.Origin
		return Event{Kind: KindOrigin, Origin: &origin}, nil
	}
	return Event{}, nil
}

// find returns the relation of a row, nil where its rows are left out. The first time that a row's table has no shape, the event says so, and
// the row comes again: who wants to go on calls Ignore in between.
func (s *Stream) find(oid uint32) (*placed, Event, error) {
	p, err := s.relations.find(oid)
	if p == nil || err != nil || p.table != nil {
		return p, Event{}, err
	}
	if p.told {
		return nil, Event{}, fault.Fatal(fmt.Errorf("row of table %s, whose shape is not known", p.name()),
			"it is in the publication but not selected: take it out of the publication, or select it")
	}
	p.told, s.again = true, true
	return nil, Event{Kind: KindSchema, Schema: s.relations.unknown(&p.relation)}, nil
}

func (s *Stream) truncate(m *TruncateMessage) (Event, error) {
	t := &Truncate{Cascade: m.Cascade, RestartIdentity: m.RestartIdentity}
	for _, oid := range m.RelationOIDs {
		p, e, err := s.find(oid)
		if err != nil || e.Kind != 0 {
			return e, err
		}
		if p != nil {
			t.Tables = append(t.Tables, p.table)
		}
	}
	if len(t.Tables) == 0 {
		return Event{}, nil
	}
	return Event{Kind: KindTruncate, Truncate: t}, nil
}

func (s *Stream) change(r *Row, letter byte) (Event, error) {
	p, e, err := s.find(r.RelationOID)
	if p == nil || err != nil {
		return e, err
	}
	e = Event{Kind: KindChange, Change: change.Change{Tx: s.tx, Table: p.table}}
	c := &e.Change
	if r.Old != nil {
		if c.Before, err = p.old(&s.decoder, r); err != nil {
			return Event{}, err
		}
	}
	if r.New != nil {
		if c.After, err = p.row(&s.decoder, r.New, nil); err != nil {
			return Event{}, err
		}
	}
	switch letter {
	case 'I':
		c.Op = change.Insert
	case 'D':
		c.Op = change.Delete
	case 'U':
		c.Op = change.Update
		fillUnchanged(c)
		// A key that lies in TOAST is logged although it stays what it was.
		if (r.OldKind == 'K' || p.weak) && !c.KeyChanged() {
			c.Before = nil
		}
	}
	return e, nil
}

// fillUnchanged takes values that the new row left out, because they are the old ones, from the old row where that has them.
func fillUnchanged(c *change.Change) {
	if c.Before == nil {
		return
	}
	for i := range c.After {
		if c.After[i].IsAbsent() {
			c.After[i] = c.Before[i]
		}
	}
}
