package embedded

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"

	"segue/pkg/fault"
)

// starts remembers where trimmed partitions begin.
type starts struct {
	path    string
	cluster *kfake.Cluster
	at      map[string]*topicStarts
}

// topicStarts belongs to one topic; a topic that was deleted and made again has another ID and starts afresh.
type topicStarts struct {
	ID         string           `json:"id"`
	Partitions map[string]int64 `json:"partitions"`
}

// openStarts reads the file and trims the partitions again, as far as they were.
func openStarts(path string, c *kfake.Cluster) (*starts, error) {
	s := &starts{path: path, cluster: c, at: map[string]*topicStarts{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read where the embedded Kafka's partitions start: %w", err)
	}
	if err := json.Unmarshal(b, &s.at); err != nil {
		return nil, fault.Fatal(fmt.Errorf("read %s: %w", path, err), "restore the file from a copy, or start a new data directory")
	}
	for topic, t := range s.at {
		if t.ID != s.id(topic) {
			delete(s.at, topic)
			continue
		}
		if err := s.again(topic, t); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *starts) again(topic string, t *topicStarts) error {
	for p, offset := range t.Partitions {
		n, err := strconv.ParseInt(p, 10, 32)
		if err != nil {
			return fmt.Errorf("read %s: partition %q of %s: %w", s.path, p, topic, err)
		}
		info := s.cluster.PartitionInfo(topic, int32(n))
		if info == nil || offset <= info.LogStartOffset {
			continue
		}
		if err := s.cluster.DeleteRecords(topic, int32(n), min(offset, info.HighWatermark)); err != nil {
			return fmt.Errorf("trim %s/%s again: %w", topic, p, err)
		}
	}
	return nil
}

func (s *starts) id(topic string) string {
	info := s.cluster.TopicInfo(topic)
	if info == nil {
		return ""
	}
	return hex.EncodeToString(info.TopicID[:])
}

func (s *starts) note(topic string, partition int32, offset int64) {
	id := s.id(topic)
	t := s.at[topic]
	if t == nil || t.ID != id {
		t = &topicStarts{ID: id, Partitions: map[string]int64{}}
		s.at[topic] = t
	}
	key := strconv.Itoa(int(partition))
	t.Partitions[key] = max(t.Partitions[key], offset)
}

func (s *starts) save() error {
	b, err := json.Marshal(s.at)
	if err != nil {
		return fmt.Errorf("encode where partitions start: %w", err)
	}
	return replace(s.path, b)
}
