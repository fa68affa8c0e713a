package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Admin makes, checks and trims topics.
type Admin struct {
	client *kgo.Client
	admin  *kadm.Client
}

// OpenAdmin makes an Admin; nothing is sent before the first call.
func OpenAdmin(cfg Config) (*Admin, error) {
	client, err := cfg.client()
	if err != nil {
		return nil, err
	}
	return &Admin{client: client, admin: kadm.NewClient(client)}, nil
}

// Close ends the connections.
func (a *Admin) Close() { a.client.Close() }

// Brokers is how many brokers the cluster has.
func (a *Admin) Brokers(ctx context.Context) (int, error) {
	list, err := a.admin.ListBrokers(ctx)
	if err != nil {
		return 0, classify(fmt.Errorf("reach kafka: %w", err))
	}
	return len(list), nil
}

// Cluster is the cluster's own name, which no other has.
func (a *Admin) Cluster(ctx context.Context) (string, error) {
	m, err := a.admin.BrokerMetadata(ctx)
	if err != nil {
		return "", classify(fmt.Errorf("reach kafka: %w", err))
	}
	return m.Cluster, nil
}

// Starts returns the first offset of every partition of the topics.
func (a *Admin) Starts(ctx context.Context, topics ...string) (Offsets, error) {
	return offsets(a.admin.ListStartOffsets(ctx, topics...))
}

// Ends returns the offset behind the last record of every partition of the topics.
func (a *Admin) Ends(ctx context.Context, topics ...string) (Offsets, error) {
	return offsets(a.admin.ListEndOffsets(ctx, topics...))
}

// Delete removes topics; those that are not there are no error.
func (a *Admin) Delete(ctx context.Context, topics ...string) error {
	have, err := a.list(ctx, topics)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(slices.Clone(topics), func(t string) bool { _, ok := have[t]; return !ok })
	if len(names) == 0 {
		return nil
	}
	answers, err := a.admin.DeleteTopics(ctx, names...)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return classify(fmt.Errorf("delete topics: %w", err))
	}
	return nil
}

// Trim deletes what lies below the offsets. A partition that begins there or later is left as it is.
func (a *Admin) Trim(ctx context.Context, topic string, below map[int32]int64) error {
	starts, err := a.Starts(ctx, topic)
	if err != nil {
		return err
	}
	var o kadm.Offsets
	for partition, offset := range below {
		if offset > starts[topic][partition] {
			o.AddOffset(topic, partition, offset, -1)
		}
	}
	if len(o) == 0 {
		return nil
	}
	answers, err := a.admin.DeleteRecords(ctx, o)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return classify(fmt.Errorf("trim %s: %w", topic, err))
	}
	return nil
}

// list returns those of the topics that exist.
func (a *Admin) list(ctx context.Context, topics []string) (kadm.TopicDetails, error) {
	a.client.PurgeTopicsFromClient(topics...) // the client caches that a topic is not there
	details, err := a.admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, classify(fmt.Errorf("list topics: %w", err))
	}
	details.FilterInternal()
	for name, d := range details {
		if d.Err != nil {
			if unknownTopic(d.Err) {
				delete(details, name)
				continue
			}
			return nil, classify(fmt.Errorf("list topic %s: %w", name, d.Err))
		}
	}
	return details, nil
}
