package status

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

// Write writes the report for people.
func Write(w io.Writer, r Report) {
	p := page{w: w, now: r.Time}
	p.line("migration %s at %s", r.Migration, r.Time.Format(time.DateTime+" MST"))
	p.source(r.Source)
	p.stages(r)
	p.target(r.Target)
	p.lag(r.Lag)
	p.services(r.Services)
	p.loads(r.Stages.Loads)
}

// services says who works and who stands by, where several processes may.
func (p page) services(s Services) {
	if s.Error == "" && len(s.List) == 0 {
		return // everything in one process, or nothing runs
	}
	if !p.head("services", s.Part) {
		return
	}
	for _, one := range s.List {
		working := one.Working
		if working == "" {
			working = "nobody yet"
		}
		p.line("  %-13s working %s", one.Name, working)
		for _, other := range one.Standing {
			p.line("  %-13s standby %s", "", other)
		}
	}
}

type page struct {
	w   io.Writer
	now time.Time
}

func (p page) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, format+"\n", args...) // a page for people: where it cannot be written, nobody reads
}

// head says how old the part's numbers are and what keeps it from newer ones; it returns whether there are any.
func (p page) head(name string, part Part) bool {
	switch {
	case part.Read.IsZero() && part.Error != "":
		p.line("\n%-8s not reached: %s", name, oneLine(part.Error))
		return false
	case part.Error != "":
		p.line("\n%-8s read %s ago; not reached since: %s", name, Age(p.now.Sub(part.Read)), oneLine(part.Error))
	default:
		p.line("\n%-8s read %s ago", name, Age(p.now.Sub(part.Read)))
	}
	return true
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (p page) source(s Source) {
	if !p.head("source", s.Part) {
		return
	}
	p.line("  log at %s", s.LSN)
	if !s.Exists {
		p.line("  slot %s is not there yet", s.Slot)
		return
	}
	state := "nobody reads it"
	switch {
	case s.Active:
		state = "active"
	case s.Inactive > 0:
		state += " for " + Age(time.Duration(s.Inactive*float64(time.Second)))
	}
	safe := "no limit"
	if s.SafeBytes >= 0 {
		safe = Size(s.SafeBytes) + " until it is lost"
	}
	p.line("  slot %s: %s, confirmed %s, holds back %s of log (%s, %s)", s.Slot, state, s.Confirmed, Size(s.Retained), s.WALStatus, safe)
	p.line("  %s not confirmed, catalog rows of %d transactions held for it, kept on standbys: %s", Size(s.Unconfirmed), s.XminAge, yes(s.Failover))
	if s.WALStatus == "lost" {
		p.line("  LOST (%s): changes since then cannot be streamed; read all tables again: segue run reader --new-history", cmp.Or(s.Invalid, "max_slot_wal_keep_size"))
	}
	for _, c := range s.Crossed {
		p.line("  OVER: %s", c)
	}
	if len(s.Crossed) > 0 && !s.Active {
		p.line("  no reader runs, so protect.on_limit (%s) does nothing: start it, or give the slot up with segue source finish", s.OnLimit)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (p page) stages(r Report) {
	if !p.head("kafka", r.Stages.Part) {
		return
	}
	if len(r.Stages.List) == 0 {
		p.line("  nothing written yet")
	}
	for _, s := range r.Stages.List {
		p.line("  %-13s %-28s written %s ago, last source commit %s ago, by %s", s.Name, s.At, p.since(s.Written), p.since(s.Committed), s.Owner)
	}
}

func (p page) target(t Target) {
	if !p.head("target", t.Part) {
		return
	}
	if !t.Exists {
		p.line("  nothing applied yet")
		return
	}
	load := "initial load under way"
	if t.Loaded {
		load = "loaded"
	}
	p.line("  %-13s %-28s committed %s ago, last source commit %s ago, by %s", "applied", t.At, p.since(t.Applied), p.since(t.Committed), t.Owner)
	p.line("  %s, %s; %d changes, %d pending, %d parked", t.Mode, load, t.Changes, t.Pending, t.Parked)
	for _, c := range t.Crossed {
		p.line("  OVER: %s: the applier rests", c)
	}
	if t.IndexesKept > 0 {
		p.line("  indexes  taken away for the load: %s", t.Indexes)
	}
	for _, k := range t.ParkedTables {
		p.line("  parked   %-40s %d rows: segue dead list", k.Name, k.Rows)
	}
}

func (p page) lag(l Lag) {
	if l.Known {
		p.line("\nbehind   %s of log, %s", Size(l.Bytes), Age(time.Duration(l.Seconds*float64(time.Second))))
	}
}

func (p page) loads(all []Load) {
	complete := 0
	for _, l := range all {
		if l.Complete {
			complete++
		}
	}
	if len(all) == 0 {
		return
	}
	p.line("\nload     %d of %d tables complete", complete, len(all))
	for _, l := range all {
		if !l.Complete {
			p.line("  %-40s %s %3d %%", l.Name, Bar(l.Done, l.Blocks), Percent(l.Done, l.Blocks))
		}
	}
}

func (p page) since(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return Age(p.now.Sub(t))
}

// Percent is a part of a whole; the whole of nothing is done.
func Percent(done, all int64) int64 {
	if all <= 0 {
		return 100
	}
	return min(100, 100*done/all)
}

// Bar draws a part of a whole, 20 places wide.
func Bar(done, all int64) string {
	n := int(Percent(done, all)) / 5
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", 20-n) + "]"
}
