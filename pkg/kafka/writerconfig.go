package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/frontier"
)

// Pace says how often a Writer cuts. Zero values stand for the defaults.
type Pace struct {
	// A boundary is cut at once when no frontier is in flight and the last cut has had its Rest, else after Delay (20 ms) at most,
	// or after Changes (5 000) or Bytes (2 MiB) since the last cut. Places inside a transaction are cut only for the latter two.
	Delay time.Duration
	// Rest is the least time between two cuts that nothing presses for (4 ms): a lone transaction goes at once, a thousand a second share
	// frontiers, each of which costs a round through Kafka and a transaction on the target.
	Rest    time.Duration
	Changes int
	Bytes   int64
	// Full is how often a frontier lists all lanes (1 s).
	Full time.Duration
	// Buffer bounds the bytes that Kafka has not acknowledged (32 MiB): Append waits above it.
	Buffer int64
}

func (p Pace) withDefaults() Pace {
	p.Delay = orDefault(p.Delay, 20*time.Millisecond)
	p.Rest = orDefault(p.Rest, 4*time.Millisecond)
	p.Changes = orDefault(p.Changes, 5000)
	p.Bytes = orDefault(p.Bytes, 2<<20)
	p.Full = orDefault(p.Full, time.Second)
	p.Buffer = orDefault(p.Buffer, 32<<20)
	return p
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Compression is how batches of lane records are packed.
type Compression string

// The compressions; "" is LZ4.
const (
	LZ4          Compression = "lz4"
	Zstd         Compression = "zstd"
	Uncompressed Compression = "none"
)

func (c Compression) codec() kgo.CompressionCodec {
	switch c {
	case Zstd:
		return kgo.ZstdCompression()
	case Uncompressed:
		return kgo.NoCompression()
	case LZ4:
	}
	return kgo.Lz4Compression()
}

// WriterConfig says what a Writer writes, and as whom.
type WriterConfig struct {
	Kafka         Config
	Stage         string // the claim's fields, see frontier.Claim
	Owner         string
	Fingerprint   string
	Upstream      int64
	FrontierTopic string
	LaneTopic     func(tableTopic string) string
	Lanes         []frontier.Lane // Append names a lane by its index here
	Codec         Codec
	Pace          Pace
	Compression   Compression
	// MaxRecord bounds the largest batch, and so the largest record, before compression, beside what the topics allow; 0: as they do.
	MaxRecord int32
}

// producerOpts are what keeps a producer from ever going on by itself after an error: the same record is tried for
// ever, and what Kafka refuses for good breaks the writer.
func producerOpts(l *limits) []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.StopProducerOnDataLossDetected(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1 << 30), // the Writer bounds the bytes itself
		kgo.ProducerBatchMaxBytesFn(l.record),
		kgo.BrokerMaxWriteBytes(l.request),
	}
}
