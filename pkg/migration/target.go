package migration

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"
)

// Target is the new database, and how it is spared while rows go into it.
type Target struct {
	Store
	// Indexes says what happens to secondary indexes of tables that are empty before their load.
	Indexes Indexes
	// IndexWorkers is how many of them are made at the same time behind the load.
	IndexWorkers int
	Pause        Pause
}

// Indexes is what happens to secondary indexes of the target tables during the initial load.
type Indexes string

// What Indexes may be.
const (
	IndexesKeep      Indexes = "keep"       // they stay, and each row that is loaded goes into them
	IndexesAfterLoad Indexes = "after_load" // they are dropped before the load and made again behind it
)

// Pause says how busy a target may be before nothing new is written to it; 0: no limit.
type Pause struct {
	ActiveSessions int   // of others, that run a statement
	StandbyLag     int64 // bytes that a standby is behind
	// Max is how long nothing is written at the most. Behind it the applier works for a tenth of its time until the target has less to do.
	Max time.Duration
}

// Watches says whether there is a limit.
func (p *Pause) Watches() bool { return p.ActiveSessions > 0 || p.StandbyLag > 0 }

// Crossed says which of the limits a target is over, for people.
func (p *Pause) Crossed(sessions int, lag int64) []string {
	var out []string
	if p.ActiveSessions > 0 && sessions > p.ActiveSessions {
		out = append(out, fmt.Sprintf("%d sessions of others are active, target.pause_while.active_sessions is %d", sessions, p.ActiveSessions))
	}
	if p.StandbyLag > 0 && lag > p.StandbyLag {
		out = append(out, fmt.Sprintf("a standby is %s behind, target.pause_while.standby_lag is %s", FormatSize(lag), FormatSize(p.StandbyLag)))
	}
	return out
}

// The defaults of Target, and its bounds.
const (
	DefaultIndexWorkers = 2
	DefaultMaxPause     = time.Minute
	maxIndexWorkers     = 32
)

func (p *parser) target(n *yaml.Node) {
	t := &p.spec.Target
	p.object(n, "target", []field{
		p.postgres("target", &t.Store),
		{"indexes", false, func(n *yaml.Node) {
			if s, ok := p.text(n, "target.indexes"); ok {
				t.Indexes = Indexes(s.Value)
				if t.Indexes != IndexesKeep && t.Indexes != IndexesAfterLoad {
					p.mistake(s.At, "target.indexes is keep or after_load%s", DidYouMean(s.Value, []string{string(IndexesKeep), string(IndexesAfterLoad)}))
				}
			}
		}},
		{"index_workers", false, func(n *yaml.Node) { t.IndexWorkers = p.number(n, "target.index_workers", maxIndexWorkers) }},
		{"pause_while", false, p.pause},
	})
}

func (p *parser) pause(n *yaml.Node) {
	x := &p.spec.Target.Pause
	p.object(n, "target.pause_while", []field{
		{"active_sessions", false, func(n *yaml.Node) {
			x.ActiveSessions = p.number(n, "target.pause_while.active_sessions", mostSessions)
		}},
		{"standby_lag", false, func(n *yaml.Node) { x.StandbyLag = p.size(n, "target.pause_while.standby_lag") }},
		{"max_pause", false, func(n *yaml.Node) {
			if s, ok := p.text(n, "target.pause_while.max_pause"); ok {
				d, err := parseWait(s.Value)
				if err != nil {
					p.mistake(s.At, "target.pause_while.max_pause: %v", err)
				}
				x.Max = d
			}
		}},
	})
}
