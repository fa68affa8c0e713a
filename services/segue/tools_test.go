package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

const typed = `CREATE TABLE public.typed (id bigint PRIMARY KEY, name text, age smallint, "Größe in cm" numeric(5,2), active boolean, score double precision, photo bytea, born date)`

// told runs a migration of one small table: two rows that are read, then an update and a delete. It leaves four records on the raw topic.
func told(t *testing.T, a embedded.Addresses, seed uint64) *story {
	t.Helper()
	s := newStory(t, a, seed)
	pgtest.Exec(t, s.target, typed)
	pgtest.Exec(t, s.source, typed,
		`INSERT INTO typed VALUES (1, E'Ada "x"\nü', 36, 170.50, true, 1e23, '\x00ff', '1815-12-10'), (2, 'gone', NULL, NULL, NULL, 'Infinity', NULL, NULL)`)
	s.start()
	s.await("the rows are there", "SELECT EXISTS (SELECT FROM typed)")
	pgtest.Exec(t, s.source, `UPDATE typed SET active = false WHERE id = 1`, `DELETE FROM typed WHERE id = 2`)
	s.settle()
	s.stop()
	s.finish()
	return s
}

// A consumer that knows Avro and the registry, and nothing of segue, reads keys and values of the raw topics into generic maps.
func TestPipelineGoavroReadsRawTopics(t *testing.T) {
	servers := surroundingsOf(t)
	s := told(t, servers, 200_000)
	schemas := map[uint32]*goavro.Codec{}
	generic := func(b []byte) map[string]any {
		t.Helper()
		id := binary.BigEndian.Uint32(b[1:5])
		if schemas[id] == nil {
			schemas[id] = fetchSchema(t, servers.Registry, id)
		}
		native, rest, err := schemas[id].NativeFromBinary(b[5:])
		if b[0] != 0 || len(rest) > 0 || err != nil {
			t.Fatalf("goavro cannot read %x: %v", b, err)
		}
		return native.(map[string]any)
	}
	ada := map[string]any{
		"id": union("long", int64(1)), "name": union("string", "Ada \"x\"\nü"), "age": union("int", int32(36)), "Gr_xc3_xb6_xc3_x9fe_x20in_x20cm": union("string", "170.50"),
		"active": union("boolean", true), "score": union("double", 1e23), "photo": union("bytes", []byte{0, 0xff}), "born": union("string", "1815-12-10"),
	}
	seen := map[string]map[string]any{}
	for _, r := range s.records(4) {
		v := generic(r.Value)
		op := fmt.Sprint(v["op"], generic(r.Key)["id"])
		seen[op] = v
		source := v["source"].(map[string]any)
		if source["table"] != "typed" || source["schema"] != "public" || source["connector"] != "segue" {
			t.Errorf("%s: source %v", op, source)
		}
	}
	value := func(v any) any { return v.(map[string]any)["h200000.public.typed.Value"] }
	if got := value(seen["r1"]["after"]); !reflect.DeepEqual(got, ada) {
		t.Errorf("the row that was read: %v\nwant %v", got, ada)
	}
	ada["active"] = union("boolean", false)
	if got := value(seen["u1"]["after"]); !reflect.DeepEqual(got, ada) {
		t.Errorf("the row that was updated: %v\nwant %v", got, ada)
	}
	if got := value(seen["d2"]["before"]).(map[string]any)["id"]; !reflect.DeepEqual(got, union("long", int64(2))) || seen["d2"]["after"] != nil || seen["r2"] == nil {
		t.Errorf("the row that was deleted: %v of %v", got, seen)
	}
}

// kcat reads the raw topics in JSON as they are: key and value with their schemas.
func TestPipelineKcatReadsRawTopics(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("kcat (Debian: apt-get install kcat): %v", err)
		}
		t.Skipf("NOT TESTED with kcat (Debian: apt-get install kcat): %v", err)
	}
	servers := surroundingsOf(t)
	s := told(t, servers, 200_004)
	cmd := exec.CommandContext(t.Context(), kcat, "-b", servers.Brokers[0], "-C", "-t", s.rawTopic(), "-e", "-q", "-f", `%k\t%s\n`)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat: %v: %s", err, stderr.String())
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(line, "\t")
		var k, v struct {
			Schema  struct{ Name string }
			Payload struct {
				ID            int64
				Op            string
				Before, After map[string]any
			}
		}
		if err := errors.Join(exactly(key, &k), exactly(value, &v)); err != nil {
			t.Fatalf("%v:\n%s", err, line)
		}
		if k.Schema.Name != s.name+".public.typed.Key" || v.Schema.Name != s.name+".public.typed.Envelope" {
			t.Errorf("schemas %s and %s", k.Schema.Name, v.Schema.Name)
		}
		a := v.Payload.After
		got = append(got, fmt.Sprintf("%d %s %v %v %v %v %v %v", k.Payload.ID, v.Payload.Op, a["name"], a["Größe in cm"], a["active"], a["score"], a["photo"], a["born"]))
	}
	slices.Sort(got)
	want := []string{
		"1 r Ada \"x\"\nü 170.50 true 9.999999999999999e+22 AP8= 1815-12-10", "1 u Ada \"x\"\nü 170.50 false 9.999999999999999e+22 AP8= 1815-12-10",
		"2 d <nil> <nil> <nil> <nil> <nil> <nil>", "2 r gone <nil> <nil> 1e999 <nil> <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("kcat shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// exactly reads JSON without making floats of numbers: Infinity is 1e999 there, which no float64 holds.
func exactly(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}

func surroundingsOf(t *testing.T) embedded.Addresses {
	t.Helper()
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	return servers.Addresses()
}

func (s *story) rawTopic() string { return s.name + ".raw.public.typed" }

// records reads the first n of the raw topic.
func (s *story) records(n int) (out []*kgo.Record) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.env["SEGUE_KAFKA_BROKERS"]), kgo.ConsumeTopics(s.rawTopic()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for len(out) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			s.fail("%d records of %d: %v", len(out), n, err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

func union(branch string, v any) map[string]any { return map[string]any{branch: v} }

func fetchSchema(t *testing.T, registry string, id uint32) *goavro.Codec {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", registry, id), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var body struct{ Schema string }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	codec, err := goavro.NewCodec(body.Schema)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}
