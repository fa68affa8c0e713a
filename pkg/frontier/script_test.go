package frontier

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"segue/pkg/change"
)

var update = flag.Bool("update", false, "write what the scripts print into testdata")

// TestScripts plays testdata/*.txt: each block is commands, a line of dashes, and what they print. They tell the
// rules of this package as stories. Positions are written tx.seq, lanes by number.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { play(t, file) })
	}
}

func play(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{hop: newHop(2), lanes: laneNames(2), writers: map[string]*writer{}, cursors: map[string]Cursor{}, consumers: map[string]*consumer{}}
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		commands, _, found := strings.Cut(block, "\n----")
		if !found {
			out = append(out, block) // prose
			continue
		}
		var printed strings.Builder
		for line := range strings.SplitSeq(commands, "\n") {
			if !strings.HasPrefix(line, "#") {
				printed.WriteString(s.run(strings.Fields(line)))
			}
		}
		out = append(out, commands+"\n----\n"+strings.TrimRight(printed.String(), "\n"))
	}
	got := strings.Join(out, "\n\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(text) {
		t.Errorf("the script prints:\n%s", got)
	}
}

type script struct {
	hop       *hop
	lanes     []Lane
	writers   map[string]*writer
	consumers map[string]*consumer
	cursors   map[string]Cursor
}

func (s *script) run(f []string) string {
	name, args := f[1], f[2:]
	switch f[0] {
	case "claim":
		return s.claim(name)
	case "send":
		return s.send(s.writers[name], args)
	case "land":
		return s.land(s.writers[name], args)
	case "cut":
		return s.cut(s.writers[name], args)
	case "frontiers":
		return s.frontiers(name)
	case "readback":
		return s.readback(name)
	case "consume":
		return s.consume(name)
	case "restart":
		delete(s.consumers, name)
		return ""
	case "trim":
		return s.trimTo(name)
	case "lose": // lose LANE OFFSET: the broker no longer has what it acknowledged
		lane, _ := strconv.Atoi(name)
		offset, _ := strconv.Atoi(args[0])
		s.hop.lanes[lane][offset].Incarnation = -1
		return ""
	}
	return "no such command: " + f[0] + "\n"
}

func (s *script) claim(name string) string {
	w := newWriter(s.hop)
	s.writers[name] = w
	w.landFrontier()
	if err := w.open(s.lanes); err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("%s is incarnation %d, resumes at %s, confirm %d\n", name, w.inc, short(w.state.At), w.state.Confirm)
}

func short(p change.Position) string { return fmt.Sprintf("%d.%d", p.LSN, p.Seq) }

func parse(s string) change.Position {
	tx, seq, _ := strings.Cut(s, ".")
	lsn, _ := strconv.ParseUint(tx, 10, 64)
	n, _ := strconv.ParseUint(seq, 10, 64)
	return change.Position{LSN: lsn, Seq: n}
}

// send NAME LANE POSITION...: the changes are on their way.
func (s *script) send(w *writer, args []string) string {
	lane, _ := strconv.Atoi(args[0])
	for _, pos := range args[1:] {
		w.append(lane, parse(pos))
	}
	return ""
}

// land NAME LANE: all that is on its way to the lane lands and is acknowledged.
func (s *script) land(w *writer, args []string) string {
	lane, _ := strconv.Atoi(args[0])
	for w.land(lane) {
		w.ack(lane)
	}
	return fmt.Sprintf("lane %d ends at %d\n", lane, len(s.hop.lanes[lane]))
}

// cut NAME POSITION [inside] [full]: a cut behind everything sent; confirm is the transaction's number.
func (s *script) cut(w *writer, args []string) string {
	at := parse(args[0])
	rest := strings.Join(args[1:], " ")
	w.ledger.Cut(Cut{At: at, Boundary: !strings.Contains(rest, "inside"), Confirm: at.LSN}, w.ledger.Next(), strings.Contains(rest, "full"))
	return ""
}

// frontiers NAME: every frontier that is due lands on the topic.
func (s *script) frontiers(name string) string {
	w, out := s.writers[name], ""
	for {
		ok, err := w.due()
		if err != nil {
			return out + err.Error() + "\n"
		}
		if !ok {
			break
		}
		w.landFrontier()
		rec := s.hop.topic[len(s.hop.topic)-1]
		out += fmt.Sprintf("%d: %s\n", rec.Offset, describe(rec.Frontier))
	}
	if out == "" {
		return "none is due\n"
	}
	return out
}

func describe(f *Frontier) string {
	var b strings.Builder
	fmt.Fprintf(&b, "incarnation %d, (%s, %s]", f.Incarnation, short(f.Prev), short(f.At))
	for _, e := range f.Lanes {
		fmt.Fprintf(&b, ", %s/%d +%d to %d", e.Lane.Table, e.Lane.Partition, e.Count, e.End)
	}
	if f.Full {
		b.WriteString(", full")
	}
	if !f.Boundary {
		b.WriteString(", inside")
	}
	return b.String()
}

func (s *script) readback(name string) string {
	w := s.writers[name]
	for w.working() && w.read < len(s.hop.topic) {
		if _, err := w.readBack(); err != nil {
			return err.Error() + "\n"
		}
	}
	out := ""
	if w.valid != nil {
		out = fmt.Sprintf("%s may confirm %d\n", name, w.valid.Confirm)
	}
	if w.broken {
		out += name + " sees a later claim and stops\n"
	}
	return out
}

// consume NAME: takes everything that is there. A boundary is committed at once; restart forgets the rest.
func (s *script) consume(name string) string {
	c, out := s.consumers[name], ""
	if c == nil {
		at, ok := s.cursors[name]
		if !ok {
			at = NewCursor()
		}
		var err error
		if c, err = openConsumer(s.hop, s.lanes, at); err != nil {
			return err.Error() + "\n"
		}
		s.consumers[name] = c
	}
	for c.fetchFrontier() {
	}
	for i := range s.lanes {
		for c.fetchLane(i) {
		}
	}
	for {
		event, ok, err := c.merger.Next()
		if err != nil {
			return out + err.Error() + "\n"
		}
		if !ok {
			return out + fmt.Sprintf("waits; %d bytes held\n", c.merger.Held())
		}
		out += s.event(name, c, event)
	}
}

func (s *script) event(name string, c *consumer, event Event[Message]) string {
	if event.Claim != nil {
		return fmt.Sprintf("claim %d: back to %s\n", event.Claim.Offset, short(c.merger.State().At))
	}
	out := "takes"
	for _, msg := range event.Batch.Changes {
		out += " " + short(msg.Pos)
	}
	if event.Batch.Frontier.Boundary {
		s.cursors[name] = c.merger.State().Cursor()
		return out + ", commits at " + short(event.Batch.Frontier.At) + "\n"
	}
	return out + ", stays open\n"
}

// trim OFFSET: the topic begins at the frontier with that offset, the lanes at its ends.
func (s *script) trimTo(offset string) string {
	n, _ := strconv.Atoi(offset)
	log, err := s.hop.fold(n + 1)
	if err != nil {
		return err.Error() + "\n"
	}
	s.hop.start = n
	for i, lane := range s.lanes {
		s.hop.starts[i] = log.Boundary().Lanes[lane].End
	}
	return ""
}
