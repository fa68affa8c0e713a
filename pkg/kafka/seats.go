package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Seating is who is in the group of a service: what `status` shows.
type Seating struct {
	Group    string
	Working  string   // who has the seat, empty: nobody has
	Standing []string // who stands by
}

// Seats says who is in the groups. Groups that nobody is in are left out.
func Seats(ctx context.Context, cfg Config, groups ...string) ([]Seating, error) {
	client, err := cfg.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).DescribeGroups(ctx, groups...)
	if err != nil {
		return nil, classify(fmt.Errorf("ask for the groups: %w", err))
	}
	var out []Seating
	for _, name := range groups {
		g := answers[name]
		if errors.Is(g.Err, kerr.GroupIDNotFound) {
			continue
		}
		if g.Err != nil {
			return nil, classify(fmt.Errorf("ask for group %s: %w", name, g.Err))
		}
		s := Seating{Group: name}
		for i := range g.Members {
			who := instance(g.Members[i].InstanceID, g.Members[i].MemberID)
			if meta, ok := g.Members[i].Join.AsConsumer(); ok {
				who = string(meta.UserData)
			}
			if given, ok := g.Members[i].Assigned.AsConsumer(); ok && len(given.Topics) > 0 {
				s.Working = who
				continue
			}
			s.Standing = append(s.Standing, who)
		}
		if len(g.Members) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}
