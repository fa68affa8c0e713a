package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/embedded"
)

// childDir names, in the environment, the directory in which this binary runs a broker and produces until it is killed.
const childDir = "SEGUE_TEST_EMBEDDED_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := produceUntilKilled(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// produceUntilKilled prints each record's partition, offset and number once it is acknowledged, and trims partition 0 to its end at
// every 500th. What it printed has to be there afterwards.
func produceUntilKilled(ctx context.Context, dir string) error {
	s, err := embedded.Open(ctx, embedded.Config{Dir: dir})
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(200))
	if err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, "lane"); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	acked := make(chan *kgo.Record, 1000)
	go func() {
		for n := 0; ; n++ {
			r := &kgo.Record{Topic: "lane", Partition: int32(n % 3), Value: []byte(strconv.Itoa(n))}
			client.Produce(ctx, r, func(r *kgo.Record, err error) {
				if err == nil {
					acked <- r
				}
			})
		}
	}()
	for n := 1; ; n++ {
		r := <-acked
		fmt.Println(r.Partition, r.Offset, string(r.Value))
		if n%500 == 0 {
			to := kadm.Offsets{}
			to.AddOffset("lane", 0, -1, -1)
			done, err := admin.DeleteRecords(ctx, to)
			if err != nil {
				return err
			}
			d, _ := done.Lookup("lane", 0)
			fmt.Println("trimmed", 0, d.LowWatermark)
		}
	}
}

type produced struct {
	values map[int32]map[int64]string
	start  int64 // of partition 0
}

// runChild lets a child produce n acknowledged records and kills it.
func runChild(t *testing.T, dir string, n int, seen *produced) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for got := 0; lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			break // cut off by the kill
		}
		if f[0] == "trimmed" {
			seen.start, _ = strconv.ParseInt(f[2], 10, 64)
			continue
		}
		p, _ := strconv.ParseInt(f[0], 10, 32)
		offset, _ := strconv.ParseInt(f[1], 10, 64)
		seen.values[int32(p)][offset] = f[2]
		if got++; got == n {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL, in the middle of producing
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

// P3: what was acknowledged is there after kill -9, at its offset, and trimmed partitions do not start over.
func TestKafkaKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	seen := &produced{values: map[int32]map[int64]string{0: {}, 1: {}, 2: {}}}
	for round := range 4 {
		runChild(t, dir, 1500+137*round, seen)
		s, err := embedded.Open(t.Context(), embedded.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		check(t, s.Kafka.Address, seen)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, broker string, seen *produced) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(t.Context(), "lane")
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), "lane")
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := starts.Lookup("lane", 0); s.Offset < seen.start || s.Offset == 0 {
		t.Fatalf("partition 0 starts at %d, was trimmed to %d", s.Offset, seen.start)
	}
	from := map[int32]kgo.Offset{}
	left := 0
	for p := range int32(3) {
		s, _ := starts.Lookup("lane", p)
		e, _ := ends.Lookup("lane", p)
		from[p] = kgo.NewOffset().At(s.Offset)
		left += int(e.Offset - s.Offset)
		for offset := range seen.values[p] {
			if offset >= e.Offset {
				t.Fatalf("partition %d ends at %d, but %d was acknowledged", p, e.Offset, offset)
			}
			if offset < s.Offset && p != 0 {
				t.Fatalf("partition %d starts at %d, but nobody trimmed it", p, s.Offset)
			}
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{"lane": from})
	for left > 0 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			if want, ok := seen.values[r.Partition][r.Offset]; ok && want != string(r.Value) {
				t.Fatalf("partition %d offset %d holds %s, acknowledged was %s", r.Partition, r.Offset, r.Value, want)
			}
		})
	}
}
