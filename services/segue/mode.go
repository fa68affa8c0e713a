package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/config"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
)

// A migration may go from fused to staged and back. The applier reads another topic in each mode, so its progress row has to name the
// frontier there that stands at the target's position. It changes only while no applier runs, and only the applier changes it.

// settleMode makes the target's progress row fit this process's mode.
func (w *work) settleMode(ctx context.Context, p *plan) error {
	conn, err := postgres.Connect(ctx, string(w.spec.Target.Postgres), w.spec.Name.ApplicationName("mode"))
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	at, err := pgtarget.ReadProgress(ctx, conn, string(w.spec.Name))
	if err != nil || at == nil || at.Offset < 0 || string(at.Mode) == w.stages {
		return err
	}
	if own := p.mapping.Fingerprint(); at.Fingerprint != own && !w.choices.acceptMapping {
		return fault.Fatal(&pgtarget.FingerprintError{Target: at.Fingerprint, Own: own}, "go back to the former mapping, or take the new one from here on: --accept-mapping")
	}
	if err := ended(ctx, conn, at); err != nil {
		return err
	}
	w.log.Info("the migration changes its mode", "from", string(at.Mode), "to", w.stages, "position", at.At.String())
	cursor, err := w.otherCursor(ctx, p, at)
	if err != nil {
		return fmt.Errorf("change from %s to %s at %s: %w", at.Mode, w.stages, at.At, err)
	}
	return pgtarget.SwitchMode(ctx, conn, string(w.spec.Name), pgtarget.Mode(w.stages), cursor)
}

// ended makes sure that the applier in the other mode is gone.
func ended(ctx context.Context, conn *pgx.Conn, p *pgtarget.Progress) error {
	var alive bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2)`, p.BackendPID, p.BackendStart).Scan(&alive)
	if err != nil {
		return postgres.Safe(err)
	}
	if alive {
		return fault.Transient(fmt.Errorf("the applier %s still runs in mode %s: it has to be stopped before the mode changes", p.Owner, p.Mode))
	}
	return nil
}

// otherCursor is where the applier's input of this process's mode stands at the target's position.
func (w *work) otherCursor(ctx context.Context, p *plan, at *pgtarget.Progress) (frontier.Cursor, error) {
	if w.stages == config.Fused {
		return w.fusedCursor(ctx, at)
	}
	raw, err := w.frontierAt(ctx, stageReader, at.Offset)
	if err != nil {
		return frontier.Cursor{}, err
	}
	shaped, err := w.plant(ctx, p, stageTransformer, stageReader, at.Offset, raw)
	if err != nil {
		return frontier.Cursor{}, err
	}
	return w.plant(ctx, p, stageDeduplicator, stageTransformer, shaped.Offset, raw)
}

// fusedCursor follows the frontiers back to the reader's: each names the one of its input.
func (w *work) fusedCursor(ctx context.Context, at *pgtarget.Progress) (frontier.Cursor, error) {
	offset := at.Offset
	for _, stage := range []string{stageDeduplicator, stageTransformer} {
		f, err := w.frontierAt(ctx, stage, offset)
		if err != nil {
			return frontier.Cursor{}, err
		}
		offset = int64(f.Confirm)
	}
	f, err := w.frontierAt(ctx, stageReader, offset)
	if err != nil {
		return frontier.Cursor{}, err
	}
	if f.At != at.At {
		return frontier.Cursor{}, fmt.Errorf("the reader's frontier at offset %d is at %s", offset, f.At)
	}
	return frontier.Cursor{Offset: offset, Incarnation: f.Incarnation, At: f.At}, nil
}

func (w *work) frontierAt(ctx context.Context, stage string, offset int64) (*frontier.Frontier, error) {
	codec, err := w.frontiers(ctx, stage)
	if err != nil {
		return nil, err
	}
	topic := w.spec.Name.FrontierTopic(stage)
	items, err := kafka.OpenItems(w.servers.kafka, topic, offset)
	if err != nil {
		return nil, err
	}
	defer items.Close()
	item, err := items.Next(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := codec.DecodeFrontier(item.Value)
	if err != nil {
		return nil, err
	}
	if rec.Frontier == nil {
		return nil, fmt.Errorf("%s at offset %d: no frontier", topic, offset)
	}
	return rec.Frontier, nil
}

// plant puts a frontier at the target's position into a stage's topic, so that stage and applier go on behind it: everything before it is
// on the target already.
func (w *work) plant(ctx context.Context, p *plan, stage, input string, offset int64, f *frontier.Frontier) (c frontier.Cursor, err error) {
	codec, err := w.frontiers(ctx, stage)
	if err != nil {
		return c, err
	}
	standing, err := kafka.Latest(ctx, w.servers.kafka, codec, w.spec.Name.FrontierTopic(input))
	if err != nil {
		return c, err
	}
	out, err := w.openWriter(ctx, p, stage, standing.Claim)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, out.Close(ctx)) }()
	resumed := out.Resumed()
	if resumed.Offset >= 0 && resumed.At == f.At && resumed.Confirm == uint64(offset) {
		return resumed.Cursor(), nil
	}
	if f.At.Before(resumed.At) {
		return c, fault.Fatal(fmt.Errorf("the topics of stage %s are at %s already", stage, resumed.At), "run fused until the target is beyond that position, then change the mode")
	}
	cut := frontier.Cut{At: f.At, Boundary: true, Confirm: uint64(offset), Requests: f.Requests, Loaded: f.Loaded, Committed: f.Committed}
	if err := out.Cut(ctx, cut, true); err != nil {
		return c, err
	}
	for {
		select {
		case found := <-out.Valid():
			if found.Frontier.At == f.At {
				return frontier.Cursor{Offset: found.Offset, Incarnation: found.Frontier.Incarnation, At: f.At}, nil
			}
		case <-out.Broken():
			return c, out.Err()
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
}

// staged makes sure that a stage with topics of its own is what the target waits for: until the applier has changed the mode, its
// topics are nobody's.
func (w *work) staged(ctx context.Context) error {
	conn, err := postgres.Connect(ctx, string(w.spec.Target.Postgres), w.spec.Name.ApplicationName("mode"))
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	at, err := pgtarget.ReadProgress(ctx, conn, string(w.spec.Name))
	if err != nil || at == nil || at.Offset < 0 || at.Mode == pgtarget.Staged {
		return err
	}
	return fault.Transient(fmt.Errorf("the target is written in mode %s: waiting for the applier to change that (segue run applier --stages staged)", at.Mode))
}
