package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/pkg/fault"
)

// Topic is a topic as the migration wants it.
type Topic struct {
	Name        string
	Partitions  int32
	Replication int16             // 0 or -1: the brokers' default
	Settings    map[string]string // beside those that every topic of segue has
	Foreign     bool              // people's own: made where it is missing, and left as it is
}

// kept are the settings that keep Kafka from deleting what is not applied: segue trims by itself.
func kept() map[string]string {
	return map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
}

func (t Topic) settings() map[string]string {
	if t.Foreign {
		return t.Settings
	}
	all := kept()
	maps.Copy(all, t.Settings)
	maps.Copy(all, kept()) // these are not the user's to choose
	return all
}

// EnsureTopics makes the topics that are not there and checks the others: a partition count that differs, or a
// setting by which Kafka would delete records, is refused. All findings come at once.
func (a *Admin) EnsureTopics(ctx context.Context, topics []Topic) error {
	have, err := a.list(ctx, names(topics))
	if err != nil {
		return err
	}
	var missing []Topic
	for _, t := range topics {
		if _, ok := have[t.Name]; !ok {
			missing = append(missing, t)
		}
	}
	if err := a.create(ctx, missing); err != nil {
		return err
	}
	if err := a.visible(ctx, names(missing)); err != nil {
		return err
	}
	findings, err := a.CheckTopics(ctx, topics)
	if err != nil {
		return err
	}
	var refused []error
	for _, f := range findings {
		if f.Fatal {
			refused = append(refused, fault.Fatal(errors.New(f.Text), f.Mend))
		}
	}
	return errors.Join(refused...)
}

// createAtOnce bounds one request to the controller, which answers when all of it is made.
const createAtOnce = 100

// create makes topics. Another process may be faster: what is there then is checked like any other.
func (a *Admin) create(ctx context.Context, topics []Topic) error {
	for some := range slices.Chunk(topics, createAtOnce) {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 30_000
		for _, t := range some {
			req.Topics = append(req.Topics, t.request())
		}
		answer, err := req.RequestWith(ctx, a.client)
		a.client.PurgeTopicsFromClient(names(some)...)
		if err != nil {
			return classify(fmt.Errorf("make topics: %w", err))
		}
		for _, t := range answer.Topics {
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
				return classify(fmt.Errorf("make topic %s: %w", t.Topic, err))
			}
		}
	}
	return nil
}

// visible waits until the brokers know the new topics and each partition has a leader.
func (a *Admin) visible(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		have, err := a.list(ctx, topics)
		if err != nil {
			return err
		}
		if len(have) == len(topics) && led(have) {
			return nil
		}
		select {
		case <-ctx.Done():
			return classify(fmt.Errorf("wait for new topics: %d of %d are there: %w", len(have), len(topics), ctx.Err()))
		case <-tick.C:
		}
	}
}

func led(topics kadm.TopicDetails) bool {
	for _, t := range topics {
		for _, p := range t.Partitions {
			if p.Err != nil || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

func (t Topic) request() kmsg.CreateTopicsRequestTopic {
	r := kmsg.NewCreateTopicsRequestTopic()
	r.Topic, r.NumPartitions, r.ReplicationFactor = t.Name, t.Partitions, orDefault(t.Replication, -1)
	for k, v := range t.settings() {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, &v
		r.Configs = append(r.Configs, c)
	}
	return r
}

// Finding is what CheckTopics has to say of a topic.
type Finding struct {
	Topic string
	Text  string
	Mend  string // the command that mends it
	Fatal bool   // segue does not start with it; the others are advice
	// Missing: the topic is not there yet; EnsureTopics makes it.
	Missing bool
}

// CheckTopics compares the topics with what is wanted. Missing ones are findings too (not fatal: EnsureTopics makes them).
func (a *Admin) CheckTopics(ctx context.Context, topics []Topic) ([]Finding, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	have, err := a.list(ctx, names(topics))
	if err != nil {
		return nil, err
	}
	brokers, err := a.Brokers(ctx)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, t := range topics {
		if _, ok := have[t.Name]; ok {
			there = append(there, t.Name)
		}
	}
	settings, err := a.settings(ctx, there)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, t := range topics {
		d, ok := have[t.Name]
		if !ok {
			out = append(out, Finding{Topic: t.Name, Missing: true, Text: "topic " + t.Name + " is not there yet", Mend: "segue makes it at the start"})
			continue
		}
		if t.Foreign {
			continue
		}
		out = append(out, partitions(t, d)...)
		out = append(out, wanted(t, settings[t.Name])...)
		out = append(out, replicas(t.Name, d, settings[t.Name], brokers)...)
	}
	return out, nil
}

func partitions(t Topic, d kadm.TopicDetail) []Finding {
	if len(d.Partitions) == int(t.Partitions) {
		return nil
	}
	return []Finding{{
		Topic: t.Name, Fatal: true,
		Text: fmt.Sprintf("topic %s has %d partitions, the migration has %d: the count is fixed for a migration's life, because keys would change lanes",
			t.Name, len(d.Partitions), t.Partitions),
		Mend: fmt.Sprintf("set kafka.partitions to %d, or start the migration under a new name", len(d.Partitions)),
	}}
}

func wanted(t Topic, have map[string]string) []Finding {
	var out []Finding
	must, want := kept(), t.settings()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if have[k] == want[k] {
			continue
		}
		_, fatal := must[k]
		out = append(out, Finding{
			Topic: t.Name, Fatal: fatal,
			Text: fmt.Sprintf("topic %s has %s=%s, the migration wants %s", t.Name, k, have[k], want[k]),
			Mend: fmt.Sprintf("kafka-configs --bootstrap-server … --alter --entity-type topics --entity-name %s --add-config %s=%s", t.Name, k, want[k]),
		})
	}
	return out
}

// replicas advises: what a single broker's disk holds is lost with it.
func replicas(name string, d kadm.TopicDetail, have map[string]string, brokers int) []Finding {
	insync, err := strconv.Atoi(have["min.insync.replicas"])
	if err != nil || brokers < 2 || insync >= 2 {
		return nil
	}
	return []Finding{{
		Topic: name,
		Text: fmt.Sprintf("topic %s has min.insync.replicas=%d and %d replicas on %d brokers: an acknowledged change may be on one disk only",
			name, insync, d.Partitions.NumReplicas(), brokers),
		Mend: fmt.Sprintf("kafka-configs --bootstrap-server … --alter --entity-type topics --entity-name %s --add-config min.insync.replicas=2 (with at least 3 replicas)", name),
	}}
}

// settings returns the settings of topics that exist.
func (a *Admin) settings(ctx context.Context, topics []string) (map[string]map[string]string, error) {
	out := make(map[string]map[string]string, len(topics))
	if len(topics) == 0 {
		return out, nil
	}
	answers, err := a.admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, classify(fmt.Errorf("read the settings of topics: %w", err))
	}
	for _, r := range answers {
		if r.Err != nil {
			return nil, classify(fmt.Errorf("read the settings of topic %s: %w", r.Name, r.Err))
		}
		out[r.Name] = make(map[string]string, len(r.Configs))
		for _, c := range r.Configs {
			out[r.Name][c.Key] = c.MaybeValue()
		}
	}
	return out, nil
}

func unknownTopic(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) }

func names(topics []Topic) []string {
	out := make([]string, len(topics))
	for i, t := range topics {
		out[i] = t.Name
	}
	return out
}
