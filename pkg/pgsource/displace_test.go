package pgsource_test

import (
	"context"
	"testing"
	"time"

	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
)

// A reader that hangs keeps its connection and the slot; the next one of its chain ends it. Who else has the slot keeps it.
func TestDisplaceEndsTheFormerReaderOnly(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	cfg := s.config()
	cfg.App = "segue:m:reader@0000abcd"
	former := s.open(cfg)
	active := func() (app string) {
		err := s.conn.QueryRow(t.Context(), `SELECT coalesce(max(a.application_name), '') FROM pg_replication_slots r JOIN pg_stat_activity a ON a.pid = r.active_pid
			WHERE r.slot_name = $1`, cfg.Slot).Scan(&app)
		if err != nil {
			t.Fatal(err)
		}
		return app
	}
	for _, other := range []string{"segue:m:reader", "segue:m:reader@0000abce", ""} {
		if ended, err := pgsource.Displace(t.Context(), s.conn, cfg.Slot, other); ended || err != nil || active() != cfg.App {
			t.Fatalf("%q ended the reader of another chain: %v, %v", other, ended, err)
		}
	}
	pgtest.Exec(t, s.conn, `DO $$ BEGIN CREATE ROLE segue_other_reader SUPERUSER; EXCEPTION WHEN duplicate_object THEN END $$`, `SET ROLE segue_other_reader`)
	if ended, err := pgsource.Displace(t.Context(), s.conn, cfg.Slot, cfg.App); ended || err != nil || active() != cfg.App {
		t.Fatalf("another role ended the reader: %v, %v", ended, err)
	}
	pgtest.Exec(t, s.conn, `RESET ROLE`)

	if ended, err := pgsource.Displace(t.Context(), s.conn, cfg.Slot, cfg.App); !ended || err != nil || active() != "" {
		t.Fatalf("the former reader still has the slot: %v, %v", ended, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		if _, err := former.Next(ctx); err != nil {
			if faultClass(err) != "transient" {
				t.Errorf("the former reader ends with %v (%s)", err, faultClass(err))
			}
			break
		}
	}
	if ended, err := pgsource.Displace(t.Context(), s.conn, cfg.Slot, cfg.App); ended || err != nil {
		t.Errorf("there was nobody: %v, %v", ended, err)
	}
	s.open(cfg) // the slot is free at once
}
