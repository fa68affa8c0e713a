package kafkatest

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SilenceMember keeps what a static member of a consumer group sends from the group, until the handle is removed: its session ends meanwhile.
func (c *Cluster) SilenceMember(instance string) *kfake.FaultHandle {
	return c.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup}, Err: kerr.CoordinatorNotAvailable, Count: -1,
		When: func(r kmsg.Request) bool {
			var id *string
			switch r := r.(type) {
			case *kmsg.HeartbeatRequest:
				id = r.InstanceID
			case *kmsg.JoinGroupRequest:
				id = r.InstanceID
			case *kmsg.SyncGroupRequest:
				id = r.InstanceID
			}
			return id != nil && *id == instance
		},
	})
}

// ShortSessions lets members of consumer groups ask for sessions as short as they like.
func ShortSessions() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100"})
}
