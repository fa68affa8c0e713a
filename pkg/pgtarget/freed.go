package pgtarget

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"segue/pkg/change"
	"segue/pkg/request"
	"segue/pkg/table"
)

// A row that was parked because another row is not there waits for that one: once it is applied, the rows that wait for it are read again by themselves.

// freed are the keys that are parked and whose cause is not any more, by what the open transaction makes of the list.
func (t *Target) freed() []rowKey {
	p := &t.tx.parking
	gone := map[string]bool{}
	for k, s := range p.keys {
		if !s.parked {
			gone[k] = true
		}
	}
	for k := range t.parked.waiting {
		for name := range p.emptied {
			if s := p.keys[k]; ofTable(k, name) && (s == nil || !s.parked) {
				gone[k] = true
			}
		}
	}
	found := map[string]rowKey{}
	for cause := range gone {
		for k, w := range t.parked.waiting[cause] {
			if t.parkedNow(w.source, w.key) {
				found[k] = w
			}
		}
	}
	for k, s := range p.keys {
		if s.parked && s.begun && s.cause.key != nil && gone[s.cause.String()] {
			found[k] = rowKey{s.source, s.key}
		}
	}
	return slices.Collect(maps.Values(found))
}

// askFreed requests them. The requests are durable before the commit that frees them; what they bring comes behind it.
func (t *Target) askFreed(ctx context.Context) error {
	if !t.tx.parking.begun {
		return nil
	}
	keys := t.freed()
	if len(keys) == 0 {
		return nil
	}
	bySource := map[table.Name][]change.Row{}
	for _, k := range keys {
		bySource[k.source] = append(bySource[k.source], k.key)
	}
	requests := keyRequests(t.cfg.Migration, bySource, time.Now())
	if err := t.cfg.Asker.Ask(ctx, requests); err != nil {
		return fmt.Errorf("request %d rows that waited for others: %w", len(keys), err)
	}
	t.stats.Asked += int64(len(keys))
	return nil
}

// keyRequests asks for rows by key, as few requests per source table as fit into a record each.
func keyRequests(migration string, keys map[table.Name][]change.Row, now time.Time) []request.Request {
	var out []request.Request
	for source, list := range keys {
		for n := 0; len(list) > 0; n++ {
			some := list[:min(len(list), maxRequestKeys)]
			list = list[len(some):]
			out = append(out, request.Request{
				ID:   fmt.Sprintf("%s %s freed %d.%d", migration, source, now.UnixMicro(), n),
				Kind: request.Keys, Table: source, Keys: some, By: "applier", Written: now.UnixMicro(),
			})
		}
	}
	return out
}
