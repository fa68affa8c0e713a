package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/pkg/fault"
)

// The group speaks Kafka's classic protocol in the consumers' own formats, so that Kafka's tools show it. It is spoken here and not by the
// client library's consumer, which gives a partition up, or to somebody else, when a member comes: here a member that works keeps its seat
// through every rebalance, hears by whom it was displaced, and leaves at once although it is a static member.
const (
	seatProtocolType = "consumer"
	seatProtocol     = "segue"
	seatVersion      = 2 // of the members' metadata: with owned partitions and their generation
)

// answerWithin is how long a coordinator may take for an answer that waits for nobody.
const answerWithin = 2 * time.Second

// sessions are what a broker is asked for in turn where it refuses a shorter session.
func sessions() []time.Duration {
	return []time.Duration{6 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second}
}

// join enters the group's next generation and learns who has the seat in it.
func (s *Seat) join(ctx context.Context) error {
	for {
		answer, err := s.sendJoin(ctx)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(answer.ErrorCode)
		switch {
		case err == nil:
			s.member, s.generation = answer.MemberID, answer.Generation
			if again, err := s.sync(ctx, answer); err != nil || !again {
				return err
			}
		case errors.Is(err, kerr.MemberIDRequired):
			s.member = answer.MemberID
		case errors.Is(err, kerr.InvalidSessionTimeout) && s.longer():
		default:
			if again, err := s.refused(err); err != nil || !again {
				return err
			}
		}
	}
}

// longer takes the next longer session, where there is one.
func (s *Seat) longer() bool {
	for _, d := range sessions() {
		if d > s.session {
			s.session = d
			return true
		}
	}
	return false
}

func (s *Seat) sendJoin(ctx context.Context) (*kmsg.JoinGroupResponse, error) {
	meta := kmsg.ConsumerMemberMetadata{Version: seatVersion, Topics: []string{s.cfg.Topic}, UserData: []byte(s.cfg.Owner), Generation: none}
	if s.seated != none {
		meta.Generation = s.seated
		meta.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: s.cfg.Topic, Partitions: []int32{0}}}
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = s.cfg.Group, s.member, &s.cfg.Instance, seatProtocolType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(s.session.Milliseconds()), int32(s.session.Milliseconds())
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: seatProtocol, Metadata: meta.AppendTo(nil)}}
	// It waits for the other members, at most as long as one may be silent, and for group.initial.rebalance.delay.ms.
	ctx, cancel := context.WithTimeout(ctx, 2*s.session+10*time.Second)
	defer cancel()
	answer, err := req.RequestWith(ctx, s.client)
	return answer, s.classify("join", err)
}

// sync gives or gets the seats of the generation that was joined. again: this generation is over already.
func (s *Seat) sync(ctx context.Context, joined *kmsg.JoinGroupResponse) (again bool, err error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = s.cfg.Group, s.generation, s.member, &s.cfg.Instance
	req.ProtocolType, req.Protocol = kmsg.StringPtr(seatProtocolType), kmsg.StringPtr(seatProtocol)
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		req.GroupAssignment = assign(joined.Members)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.session+10*time.Second)
	defer cancel()
	sent := time.Now()
	answer, err := req.RequestWith(ctx, s.client)
	if err := s.classify("join", err); err != nil {
		return false, err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return s.refused(err)
	}
	var mine kmsg.ConsumerMemberAssignment
	if err := mine.ReadFrom(answer.MemberAssignment); err != nil {
		// A leader that died between joining and assigning leaves nothing: the group notices and begins anew.
		s.settled(false, "", sent)
		return false, nil
	}
	s.settled(len(mine.Topics) > 0, string(mine.UserData), sent)
	return false, nil
}

// assign gives the seat to one member: to the one that has it, the newest where two say so (one of them was silent for too long), else to the
// first by name. Every member hears who it is.
func assign(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b kmsg.JoinGroupResponseMember) int {
		return strings.Compare(instance(a.InstanceID, a.MemberID), instance(b.InstanceID, b.MemberID))
	})
	chosen, best := -1, int32(none)
	metas := make([]kmsg.ConsumerMemberMetadata, len(members))
	for i, m := range members {
		if err := metas[i].ReadFrom(m.ProtocolMetadata); err != nil || len(metas[i].Topics) == 0 {
			continue
		}
		has := int32(none)
		if len(metas[i].OwnedPartitions) > 0 {
			has = metas[i].Generation
		}
		if chosen < 0 || has > best {
			chosen, best = i, has
		}
	}
	out := make([]kmsg.SyncGroupRequestGroupAssignment, len(members))
	for i, m := range members {
		a := kmsg.ConsumerMemberAssignment{}
		if chosen >= 0 {
			a.UserData = metas[chosen].UserData
		}
		if i == chosen {
			a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: metas[i].Topics[0], Partitions: []int32{0}}}
		}
		out[i] = kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: a.AppendTo(nil)}
	}
	return out
}

func instance(id *string, member string) string {
	if id != nil {
		return *id
	}
	return member
}

// beat tells the group that this process lives. again: the group wants everybody to join again.
func (s *Seat) beat(ctx context.Context) (again bool, err error) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = s.cfg.Group, s.generation, s.member, &s.cfg.Instance
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	answer, err := req.RequestWith(ctx, s.client)
	if err := s.classify("heartbeat", err); err != nil {
		return false, err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return s.refused(err)
	}
	return false, nil
}

// refused sorts what the coordinator says. again: join again.
func (s *Seat) refused(err error) (again bool, _ error) {
	switch {
	case errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.IllegalGeneration):
		return true, nil
	case errors.Is(err, kerr.UnknownMemberID):
		s.member = "" // it was silent for too long, or the coordinator forgot
		return true, nil
	case errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.UnreleasedInstanceID):
		s.fenced = true
		return false, fault.Fatal(fmt.Errorf("stand by in group %s as %s: %w", s.cfg.Group, s.cfg.Instance, ErrSameInstance),
			"no data is at risk: give each process of a service a SEGUE_INSTANCE of its own")
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return false, fault.Fatal(fmt.Errorf("stand by in group %s: %w", s.cfg.Group, err), "allow this user READ and DESCRIBE on the groups of the migration")
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		return false, fault.Fatal(fmt.Errorf("stand by in group %s: %w", s.cfg.Group, err), "a consumer that is not segue's is in this group: stop it")
	case errors.Is(err, kerr.NotCoordinator), errors.Is(err, kerr.CoordinatorLoadInProgress), errors.Is(err, kerr.CoordinatorNotAvailable):
		err = fault.Transient(err)
	default:
		err = classify(err)
	}
	return false, fmt.Errorf("stand by in group %s: %w", s.cfg.Group, err)
}

func (s *Seat) classify(step string, err error) error {
	var answer *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		_, err = s.refused(answer)
		if err != nil {
			return err
		}
		return fault.Transient(fmt.Errorf("%s group %s: %w", step, s.cfg.Group, answer))
	case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, context.Canceled):
		return fault.Transient(err)
	}
	return fmt.Errorf("%s group %s: %w", step, s.cfg.Group, classify(err))
}

// depart leaves the group, so that nobody waits for the session to end.
func (s *Seat) depart(ctx context.Context) {
	if s.fenced {
		return // the name is another process's by now
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = s.cfg.Group, s.member
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = s.member, &s.cfg.Instance
	req.Members = []kmsg.LeaveGroupRequestMember{m}
	_, _ = req.RequestWith(ctx, s.client) // unheard, the group notices when the session ends
}
