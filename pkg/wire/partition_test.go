package wire

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// Lanes lie where Kafka's own clients put a key: the values are those of Kafka's documentation of its hash.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want { // the bits are meant
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
}

func TestPartitionIsKafkas(t *testing.T) {
	kafka := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, -1).Draw(t, "key")
		n := rapid.Int32Range(1, 1000).Draw(t, "n")
		if got, want := Partition(key, n), kafka.Partition(&kgo.Record{Key: key}, int(n)); int(got) != want {
			t.Fatalf("partition %d, Kafka's client says %d", got, want)
		}
	})
}

// A new schema id does not move a key: what counts is the body.
func TestPartitionIgnoresFraming(t *testing.T) {
	reg := &memory{texts: []string{"another", "and another"}}
	full := customer(customers()).After
	a, err := rawCodec(t, &memory{}, customers(), here).AppendKey(nil, full)
	if err != nil {
		t.Fatal(err)
	}
	b, err := rawCodec(t, reg, customers(), here).AppendKey(nil, full)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) == string(b) || Partition(Body(a), 64) != Partition(Body(b), 64) {
		t.Errorf("%x and %x lie in %d and %d", a, b, Partition(Body(a), 64), Partition(Body(b), 64))
	}
	if Body([]byte{0, 1}) != nil {
		t.Error("a record shorter than its framing has a body")
	}
}
