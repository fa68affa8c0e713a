package kafka

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// How large a record may be. The client refuses what is larger than its own bound before it packs it, a broker refuses a packed batch
// that is larger than the topic's max.message.bytes, and hangs up on a request above socket.request.max.bytes, which the client would
// then send for ever. So the bound here is the unpacked size of a batch, which packing never makes larger: what is within it
// is taken, whatever it holds. It is read once per Writer: a topic that was given a larger one is used so from the next start on.
const (
	defaultRecord  = 1_000_012 // where a topic does not say
	defaultRequest = 100 << 20 // Kafka's own socket.request.max.bytes
	mostRequest    = 1<<30 - 1 // the client's own bound
	requestSpare   = 64 << 10  // what a request holds beside its one batch
	recordSpare    = 512       // what a batch and a record hold beside key and value
	leastRecord    = 1 << 10   // below it nothing could travel: the broker has the word then
	mostRead       = 1<<30 - 1 // of an answer
	topicLimit     = "max.message.bytes"
	brokerLimit    = "socket.request.max.bytes"
	topicResource  = kmsg.ConfigResourceTypeTopic
	brokerResource = kmsg.ConfigResourceTypeBroker
)

// limits is how much may be written at a time.
type limits struct {
	request int32
	records map[string]int32 // by topic: the largest batch
	most    int32            // of any topic; 0: as they say
}

func (l *limits) record(topic string) int32 {
	n, ok := l.records[topic]
	if !ok {
		n = defaultRecord
	}
	if l.most > 0 {
		n = min(n, l.most)
	}
	return max(min(n, l.request-requestSpare), 512)
}

// room is how many bytes key and value of a record may have together.
func (l *limits) room(topic string) int { return int(l.record(topic)) - recordSpare }

// readLimits asks the brokers. What this user may not ask for is taken as Kafka's defaults have it.
func readLimits(ctx context.Context, client *kgo.Client, topics []string, most int32) (*limits, error) {
	l := &limits{request: defaultRequest, records: make(map[string]int32, len(topics)), most: most}
	values, err := settingOf(ctx, client, topicResource, topicLimit, topics)
	if err != nil {
		return nil, err
	}
	large := int64(0)
	for topic, n := range values {
		l.records[topic] = int32(min(max(n, leastRecord), mostRequest))
		large = max(large, n)
	}
	if most > 0 {
		large = min(large, int64(most))
	}
	if large <= defaultRequest-requestSpare {
		return l, nil
	}
	return l, l.readRequest(ctx, client)
}

// readRequest finds out how large a request every broker takes.
func (l *limits) readRequest(ctx context.Context, client *kgo.Client) error {
	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return classify(fmt.Errorf("list brokers: %w", err))
	}
	var brokers []string
	for _, b := range meta.Brokers {
		brokers = append(brokers, strconv.Itoa(int(b.NodeID)))
	}
	values, err := settingOf(ctx, client, brokerResource, brokerLimit, brokers)
	if err != nil || len(values) < len(brokers) {
		return err
	}
	request := int64(mostRequest)
	for _, n := range values {
		request = min(request, n)
	}
	l.request = int32(max(request, defaultRecord+requestSpare))
	return nil
}

// settingOf reads one number of several topics or brokers. Those that do not tell are left out.
func settingOf(ctx context.Context, client *kgo.Client, kind kmsg.ConfigResourceType, setting string, names []string) (map[string]int64, error) {
	out := make(map[string]int64, len(names))
	if len(names) == 0 {
		return out, nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range names {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, []string{setting}
		req.Resources = append(req.Resources, r)
	}
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, classify(fmt.Errorf("read %s: %w", setting, shard.Err))
		}
		answer, ok := shard.Resp.(*kmsg.DescribeConfigsResponse)
		if !ok {
			return nil, fmt.Errorf("read %s: the answer is to another question", setting)
		}
		for _, r := range answer.Resources {
			for _, c := range r.Configs {
				if n, err := strconv.ParseInt(valueOf(c.Value), 10, 64); err == nil && r.ErrorCode == 0 && c.Name == setting {
					out[r.ResourceName] = n
				}
			}
		}
	}
	return out, nil
}

func valueOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
