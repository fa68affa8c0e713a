package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka is one broker that speaks Kafka's protocol and keeps its topics in a directory. Each batch is handed to the
// operating system before it is acknowledged: that survives the death of the process. Topics are never made by themselves
// and expire by no clock.
type Kafka struct {
	Address string
	cluster *kfake.Cluster
	starts  *starts
	once    sync.Once
}

// StartKafka starts a broker on a free port that keeps its data in c.Dir.
func StartKafka(ctx context.Context, c Config) (*Kafka, error) { return startKafka(ctx, c, 0) }

func startKafka(_ context.Context, c Config, port int) (*Kafka, error) {
	dir := filepath.Join(c.Dir, "kafka")
	options := []kfake.Opt{
		kfake.NumBrokers(1), kfake.DataDir(dir), kfake.ClusterID("segue-embedded"), kfake.WithLogger(logger{c.Log}),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return listen(port) }),
		kfake.BrokerConfigs(map[string]string{
			"log.retention.ms":  "-1",        // segue trims what is applied, nothing else goes
			"log.segment.bytes": "16777216",  // trimming frees whole segments, a start reads one at a time
			"message.max.bytes": "104857600", // the client's limits count
		}),
	}
	if c.Sync {
		options = append(options, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded Kafka in %s: %w", dir, err)
	}
	k := &Kafka{Address: cluster.ListenAddrs()[0], cluster: cluster}
	if k.starts, err = openStarts(filepath.Join(c.Dir, "kafka-starts.json"), cluster); err != nil {
		cluster.Close()
		return nil, err
	}
	cluster.ControlKey(int16(kmsg.DeleteRecords), k.trim)
	return k, nil
}

// Close stops the broker.
func (k *Kafka) Close() { k.once.Do(k.cluster.Close) }

// trim looks at each DeleteRecords request before the broker does. The broker keeps where a partition starts in memory
// until it is closed, and knows where one ends from its last batch alone: so the starts are kept in a file of
// ours, and the last record of a partition stays. Else a kill would let a trimmed partition begin at 0 again.
func (k *Kafka) trim(r kmsg.Request) (kmsg.Response, error, bool) {
	k.cluster.KeepControl()
	req, ok := r.(*kmsg.DeleteRecordsRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			info := k.cluster.PartitionInfo(t.Topic, p.Partition)
			if info == nil {
				continue
			}
			if p.Offset == -1 || p.Offset == info.HighWatermark {
				p.Offset = max(info.HighWatermark-1, info.LogStartOffset)
			}
			if p.Offset <= info.HighWatermark {
				k.starts.note(t.Topic, p.Partition, p.Offset)
			}
		}
	}
	err := k.starts.save()
	return nil, err, err != nil // not kept: not trimmed, the client tries again
}

// logger passes the broker's warnings on.
type logger struct{ to *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if l.to == nil || level > kfake.LogLevelWarn || level == kfake.LogLevelNone {
		return
	}
	l.to.Warn("embedded kafka", "says", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
