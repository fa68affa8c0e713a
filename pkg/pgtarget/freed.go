package pgtarget

import (
	"context"
	"fmt"
	"time"

	"segue/pkg/change"
	"segue/pkg/request"
	"segue/pkg/table"
)

// A row that was parked because another row is not there waits for that one: once it is applied, the rows that wait for it are read again by themselves.

// freed are the keys that are parked and whose cause is not any more, by what the open transaction makes of the list.
func (t *Target) freed() []waitingKey {
	p := &t.tx.parking
	gone := map[change.Position]bool{}
	for _, s := range p.order {
		if !s.parked {
			gone[s.was], gone[s.first] = true, true
		}
	}
	for k, at := range t.parked.keys {
		for name := range p.emptied {
			if ofTable(k, name) {
				gone[at] = true
			}
		}
	}
	delete(gone, change.Position{})
	var out []waitingKey
	for at := range gone {
		for _, w := range t.parked.waiting[at] {
			if t.parkedNow(w.source, w.key) {
				out = append(out, w)
			}
		}
	}
	for _, s := range p.order {
		if s.parked && s.begun && gone[s.cause] {
			out = append(out, waitingKey{s.source, s.key})
		}
	}
	return out
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

// forget drops what waits for nothing any more.
func (p *parkedKeys) forget() {
	n := 0
	for at, list := range p.waiting {
		kept := list[:0]
		for _, w := range list {
			if _, ok := p.keys[keyString(w.source, w.key)]; ok {
				kept = append(kept, w)
			}
		}
		if p.waiting[at] = kept; len(kept) == 0 {
			delete(p.waiting, at)
		}
		n += len(kept)
	}
	p.waits = n
}
