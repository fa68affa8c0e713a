package migration

import (
	"errors"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// Load says how the source's tables are read, so that reading them is bearable for those who use the source.
type Load struct {
	// Workers read at the same time, each about Chunk bytes of a table in one short transaction.
	Workers int
	Chunk   int64
	// RowsPerSecond and BytesPerSecond bound what all of them read together; 0: no bound.
	RowsPerSecond, BytesPerSecond int64
	// The load waits while more than ActiveSessions sessions of others work, or while a standby is more than StandbyLag bytes behind; 0: it does not.
	ActiveSessions int
	StandbyLag     int64
}

// The defaults of Load, and its bounds.
const (
	DefaultWorkers = 4
	DefaultChunk   = 4 << 20
	maxWorkers     = 32
	maxChunk       = 64 << 20
	minChunk       = 64 << 10
	mostRows       = 1_000_000_000
	mostSessions   = 100_000
)

func (p *parser) load(n *yaml.Node) {
	l := &p.spec.Load
	p.object(n, "load", []field{
		{"workers", false, func(n *yaml.Node) { l.Workers = p.number(n, "load.workers", maxWorkers) }},
		{"chunk", false, func(n *yaml.Node) {
			l.Chunk = p.size(n, "load.chunk")
			if l.Chunk != 0 && (l.Chunk < minChunk || l.Chunk > maxChunk) {
				p.mistake(placeOf(n), "load.chunk must be from 64kB to 64MB")
			}
		}},
		{"rows_per_second", false, func(n *yaml.Node) { l.RowsPerSecond = int64(p.number(n, "load.rows_per_second", mostRows)) }},
		{"bytes_per_second", false, func(n *yaml.Node) { l.BytesPerSecond = p.size(n, "load.bytes_per_second") }},
		{"pause_while", false, func(n *yaml.Node) {
			p.object(n, "load.pause_while", []field{
				{"active_sessions", false, func(n *yaml.Node) { l.ActiveSessions = p.number(n, "load.pause_while.active_sessions", mostSessions) }},
				{"standby_lag", false, func(n *yaml.Node) { l.StandbyLag = p.size(n, "load.pause_while.standby_lag") }},
			})
		}},
	})
}

// size reads a number of bytes with its unit.
func (p *parser) size(n *yaml.Node, what string) int64 {
	s, ok := p.text(n, what)
	if !ok {
		return 0
	}
	v, err := parseSize(s.Value)
	if err != nil {
		p.mistake(s.At, "%s: %v", what, err)
	}
	return v
}

// sizeForm is PostgreSQL's: a whole number and a unit, 1 kB being 1024 bytes.
var sizeForm = regexp.MustCompile(`^([1-9][0-9]{0,8}) ?(kB|MB|GB|TB)$`)

func parseSize(s string) (int64, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("write a size with its unit, as PostgreSQL does: 512kB, 64MB, 20GB or 1TB")
	}
	v, err := strconv.ParseInt(m[1], 10, 64)
	unit := map[string]int64{"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}[m[2]]
	if err == nil && v > (1<<62)/unit {
		err = errors.New("that is more than any disk holds")
	}
	return v * unit, err
}
