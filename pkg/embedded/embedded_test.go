package embedded_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/sr"

	"segue/pkg/embedded"
	"segue/pkg/fault"
)

func open(t *testing.T, dir string) *embedded.Services {
	t.Helper()
	s, err := embedded.Open(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAddressesStayAndAreFound(t *testing.T) {
	dir := t.TempDir()
	if _, err := embedded.Find(dir); err == nil || !strings.Contains(fault.HintOf(err), "segue run all") {
		t.Errorf("nothing ran yet: %v", err)
	}
	s := open(t, dir)
	first := s.Addresses()
	if got, err := embedded.Find(dir); err != nil || got.Brokers[0] != first.Brokers[0] || got.PID != os.Getpid() {
		t.Errorf("found %+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Find(dir); err == nil {
		t.Error("found a process that is gone")
	}
	s = open(t, dir)
	if got := s.Addresses(); got.Brokers[0] != first.Brokers[0] || got.Registry != first.Registry || got.Redis != first.Redis {
		t.Errorf("was at %+v, is at %+v", first, got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", first.Brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if got := open(t, dir).Addresses(); got.Brokers[0] == first.Brokers[0] || got.Registry != first.Registry {
		t.Errorf("somebody took %s, and it is at %+v", first.Brokers[0], got)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := embedded.Open(t.Context(), embedded.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another segue process") || !strings.Contains(fault.HintOf(err), "--data-dir") {
		t.Fatalf("got %v", err)
	}
}

func TestRegistryKeepsItsIDs(t *testing.T) {
	dir := t.TempDir()
	record := func(name string) sr.Schema {
		return sr.Schema{Type: sr.TypeAvro, Schema: `{"type":"record","name":"` + name + `","fields":[{"name":"id","type":"long"}]}`}
	}
	ids := map[string]int{}
	register := func(ctx context.Context, url, subject string, s sr.Schema) int {
		client, err := sr.NewClient(sr.URLs(url))
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.CreateSchema(ctx, subject, s)
		if err != nil {
			t.Fatal(err)
		}
		return got.ID
	}
	for round := range 3 {
		r, err := embedded.StartRegistry(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		// b shares a's schema, so its id; a second version of a gets a new one.
		for _, c := range []struct{ subject, name string }{{"a", "One"}, {"b", "One"}, {"a", "Two"}, {"c", "Three"}, {"a", "One"}} {
			key := c.subject + c.name
			id := register(t.Context(), r.URL, c.subject, record(c.name))
			if had, ok := ids[key]; ok && had != id {
				t.Errorf("round %d: %s had id %d, has %d", round, key, had, id)
			}
			ids[key] = id
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		// A line that a crash cut off was never answered for.
		f, err := os.OpenFile(filepath.Join(dir, "schemas.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"subject":"half`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if ids["aOne"] != ids["bOne"] || ids["aOne"] == ids["aTwo"] {
		t.Errorf("ids %v", ids)
	}
}

func TestRedisAnswers(t *testing.T) {
	r, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o, err := redis.ParseURL(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}
