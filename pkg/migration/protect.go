package migration

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// Protect bounds what the migration may cost its source: how much log its slot holds back, how old the catalog rows become that vacuum may
// not remove for it, and how long nobody reads it. Zero: no bound.
type Protect struct {
	WarnRetainedWAL, MaxRetainedWAL       int64 // bytes
	WarnCatalogXminAge, MaxCatalogXminAge int64 // transactions
	WarnInactive                          time.Duration
	OnLimit                               OnLimit
}

// OnLimit is what happens at one of the Max bounds.
type OnLimit string

// What OnLimit may be.
const (
	OnLimitStop OnLimit = "stop" // the reader stops with an error; the slot stays, and goes on holding the log
	OnLimitDrop OnLimit = "drop" // the slot is dropped: the source is saved, the migration has to read everything again
	OnLimitWarn OnLimit = "warn" // people are told
)

// The thresholds that hold where the file says nothing.
const (
	DefaultWarnRetainedWAL    = 10 << 30
	DefaultWarnCatalogXminAge = 200_000_000
	DefaultWarnInactive       = 5 * time.Minute
	maxXminAge                = 2_000_000_000
)

// Crossing is a threshold that is crossed.
type Crossing struct {
	Key       string // in segue.yaml, below protect
	Is, Limit int64  // bytes, transactions or seconds
	Acts      bool   // OnLimit says what happens
}

// Thresholds are the keys of all thresholds.
func Thresholds() []string {
	return []string{"max_retained_wal", "warn_retained_wal", "max_catalog_xmin_age", "warn_catalog_xmin_age", "warn_inactive"}
}

// Crossed lists the thresholds that these figures cross: bytes of log that are held back, the age of the catalog xmin, and for how long nobody
// has read the slot.
func (p *Protect) Crossed(retained, xminAge int64, inactive time.Duration) []Crossing {
	var out []Crossing
	for _, c := range []Crossing{
		{"max_retained_wal", retained, p.MaxRetainedWAL, true},
		{"warn_retained_wal", retained, p.WarnRetainedWAL, false},
		{"max_catalog_xmin_age", xminAge, p.MaxCatalogXminAge, true},
		{"warn_catalog_xmin_age", xminAge, p.WarnCatalogXminAge, false},
		{"warn_inactive", int64(inactive / time.Second), int64(p.WarnInactive / time.Second), false},
	} {
		if c.Limit > 0 && c.Is > c.Limit {
			out = append(out, c)
		}
	}
	return out
}

// withDefaults fills in what the file leaves open: a warning comes before its limit.
func (p *Protect) withDefaults() {
	p.WarnRetainedWAL = cmp.Or(p.WarnRetainedWAL, half(p.MaxRetainedWAL, DefaultWarnRetainedWAL))
	p.WarnCatalogXminAge = cmp.Or(p.WarnCatalogXminAge, half(p.MaxCatalogXminAge, DefaultWarnCatalogXminAge))
	p.WarnInactive = cmp.Or(p.WarnInactive, DefaultWarnInactive)
	p.OnLimit = cmp.Or(p.OnLimit, OnLimitStop)
}

func half(limit, otherwise int64) int64 {
	if limit == 0 {
		return otherwise
	}
	return min(otherwise, max(limit/2, 1))
}

func (p *parser) protect(n *yaml.Node) {
	x := &p.spec.Protect
	p.object(n, "protect", []field{
		{"warn_retained_wal", false, func(n *yaml.Node) { x.WarnRetainedWAL = p.size(n, "protect.warn_retained_wal") }},
		{"max_retained_wal", false, func(n *yaml.Node) { x.MaxRetainedWAL = p.size(n, "protect.max_retained_wal") }},
		{"warn_catalog_xmin_age", false, func(n *yaml.Node) {
			x.WarnCatalogXminAge = int64(p.number(n, "protect.warn_catalog_xmin_age", maxXminAge))
		}},
		{"max_catalog_xmin_age", false, func(n *yaml.Node) {
			x.MaxCatalogXminAge = int64(p.number(n, "protect.max_catalog_xmin_age", maxXminAge))
		}},
		{"warn_inactive", false, func(n *yaml.Node) {
			if s, ok := p.text(n, "protect.warn_inactive"); ok {
				d, err := parseWait(s.Value)
				if err != nil {
					p.mistake(s.At, "protect.warn_inactive: %v", err)
				}
				x.WarnInactive = d
			}
		}},
		{"on_limit", false, func(n *yaml.Node) {
			if s, ok := p.text(n, "protect.on_limit"); ok {
				x.OnLimit = OnLimit(s.Value)
				if x.OnLimit != OnLimitStop && x.OnLimit != OnLimitDrop && x.OnLimit != OnLimitWarn {
					p.mistake(s.At, "protect.on_limit is stop, drop or warn%s", DidYouMean(s.Value, []string{"stop", "drop", "warn"}))
				}
			}
		}},
	})
	if x.MaxRetainedWAL > 0 && x.WarnRetainedWAL > x.MaxRetainedWAL {
		p.mistake(placeOf(n), "protect.warn_retained_wal is above max_retained_wal: a warning comes before its limit")
	}
	if x.MaxCatalogXminAge > 0 && x.WarnCatalogXminAge > x.MaxCatalogXminAge {
		p.mistake(placeOf(n), "protect.warn_catalog_xmin_age is above max_catalog_xmin_age: a warning comes before its limit")
	}
}

var waitForm = regexp.MustCompile(`^[1-9][0-9]{0,4}(s|m|h)$`)

func parseWait(s string) (time.Duration, error) {
	if !waitForm.MatchString(s) {
		return 0, errors.New("write seconds, minutes or hours, such as 90s, 5m or 1h")
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	return time.Duration(n) * map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour}[s[len(s)-1]], err
}

// FormatSize says a number of bytes as the file does, with one digit behind the point.
func FormatSize(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// String says what is crossed, for people.
func (c *Crossing) String() string {
	switch c.Key {
	case "max_retained_wal", "warn_retained_wal":
		return fmt.Sprintf("the slot holds back %s of log, protect.%s is %s", FormatSize(c.Is), c.Key, FormatSize(c.Limit))
	case "warn_inactive":
		return fmt.Sprintf("nobody has read the slot for %s, protect.%s is %s", time.Duration(c.Is)*time.Second, c.Key, time.Duration(c.Limit)*time.Second)
	}
	return fmt.Sprintf("the slot keeps vacuum from catalog rows that are %d transactions old, protect.%s is %d", c.Is, c.Key, c.Limit)
}
