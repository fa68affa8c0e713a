package reader

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
)

// past is the history that frontiers tell of: system/timeline@fork/database. The fork is where the timeline begins, in hexadecimal, left
// out for the first one: two standbys that were promoted apart can bear the same number.
type past struct {
	system   string
	timeline int32
	fork     uint64 // 0: not known, or the first timeline
	database string
}

// history names what a position belongs to.
func history(i *pgsource.Identity) string {
	timeline := strconv.Itoa(int(i.Timeline))
	if fork := i.Fork(); fork > 0 {
		timeline += "@" + strconv.FormatUint(fork, 16)
	}
	return i.SystemID + "/" + timeline + "/" + i.Database
}

// parsePast reads it back; false where it is nothing of the kind.
func parsePast(s string) (p past, ok bool) {
	parts := strings.SplitN(s, "/", 3)
	if len(parts) != 3 {
		return p, false
	}
	number, fork, forked := strings.Cut(parts[1], "@")
	timeline, err := strconv.ParseInt(number, 10, 32)
	if err == nil && forked {
		p.fork, err = strconv.ParseUint(fork, 16, 64)
	}
	p.system, p.timeline, p.database = parts[0], int32(timeline), parts[2]
	return p, err == nil
}

// descends says whether the source's log goes on from what the frontiers tell of, up to the place confirm in it, and whether a standby was
// promoted in between.
func descends(resumed *frontier.State, is *pgsource.Identity) (promoted bool, err error) {
	if resumed.Source == "" {
		return false, nil
	}
	was, ok := parsePast(resumed.Source)
	switch {
	case !ok || was.system != is.SystemID || was.database != is.Database:
		return false, otherSource(resumed.Source, history(is))
	case was.timeline > is.Timeline:
		return false, formerPrimary(is.Timeline, was.timeline)
	case was.timeline == is.Timeline && (was.fork == 0 || was.fork == is.Fork()):
		return false, nil
	case was.timeline == is.Timeline:
		return false, otherBranch(resumed.Source, history(is))
	}
	var begin uint64 // of the ancestor that is looked at
	for _, a := range is.Ancestors {
		if a.Timeline == was.timeline && (was.fork == 0 || was.fork == begin) {
			if a.End < resumed.Confirm {
				return false, lostTail(is.Timeline, a.End, resumed.Confirm)
			}
			return true, nil
		}
		begin = a.End
	}
	return false, otherBranch(resumed.Source, history(is))
}

// compare looks at what Kafka holds and at the source's own words before anything is made, mended or claimed: a reader with the wrong URL
// must neither leave a slot behind there nor take over from the right one. What it finds is looked at again behind the claim.
func (o *opening) compare(ctx context.Context) error {
	// The slot before Kafka: another reader may confirm meanwhile, but never more than a frontier says that is read later.
	state, err := pgsource.Inspect(ctx, o.pool, o.cfg.Slot)
	if err != nil {
		return err
	}
	if state.Exists {
		if err := state.Check(o.cfg.Slot, o.identity.Database); err != nil && (!o.cfg.NewHistory || state.WALStatus != "lost") {
			return err
		}
	}
	if o.deps.Peek == nil || o.cfg.NewHistory {
		return nil
	}
	resumed, err := o.deps.Peek(ctx)
	if err != nil {
		return err
	}
	if resumed.Offset < 0 {
		return nil
	}
	now, err := pgsource.Inspect(ctx, o.pool, o.cfg.Slot) // the log's end behind what was peeked at
	if err != nil {
		return err
	}
	state.LogEnd = now.LogEnd
	if o.gaps, err = o.lookForGaps(ctx); err != nil {
		return err
	}
	before := *o
	before.resumed, before.state, before.created = resumed, state, !state.Exists
	_, err = before.continues()
	return err
}

// continues says why the source and its slot do not continue what Kafka holds, nil where they do, and whether a standby was promoted.
func (o *opening) continues() (promoted bool, err error) {
	if promoted, err = descends(&o.resumed, &o.identity); err != nil {
		return false, err
	}
	switch {
	case o.state.LogEnd < o.resumed.Confirm:
		return promoted, sourceBehind(o.state.LogEnd, o.resumed.Confirm)
	case o.created && promoted:
		return promoted, slotNotPromoted(o.cfg.Slot, o.identity.Timeline, o.identity.Version, o.resumed.At)
	case o.created:
		return promoted, slotNew(o.cfg.Slot, o.resumed.At)
	case o.state.ConfirmedLSN > o.resumed.Confirm:
		return promoted, slotAhead(o.cfg.Slot, o.state.ConfirmedLSN, o.resumed.Confirm)
	}
	if gaps := followed(&o.resumed, o.gaps); len(gaps) > 0 {
		return promoted, unpublished(o.cfg.Publication, gaps)
	}
	return promoted, nil
}

// standby says that the source takes no writes: it is waited for, because it may be about to be promoted.
func standby(database string) error {
	return fault.Transient(fmt.Errorf("the source (database %s) is a standby: the slot is followed and watermarks are written on the primary; "+
		"no data is at risk: let source.postgres name the primary, or list all hosts of the cluster (postgres://…@one,two/…), or promote this one", database))
}
