package reader

import (
	"errors"
	"fmt"

	"segue/pkg/fault"
	"segue/pkg/pgsource"
)

// errOver ends a life although the cause may pass: the next one looks at everything anew, and says what it finds.
var errOver = errors.New("this life of the reader is over")

// over wraps what was found in an error that ends the life and is worth a new one.
func over(found error) error { return fault.Transient(fmt.Errorf("%w: %w", errOver, found)) }

// stillOurs holds what a poll of the slot says against what the life began with. The stream's connection may live on while the address leads
// elsewhere already; and of a slot that is gone the stream learns late, or never while Kafka takes nothing.
func stillOurs(s *pgsource.SlotState, identity *pgsource.Identity, slot string) error {
	switch {
	case s.SystemID != identity.SystemID:
		return over(fmt.Errorf("the source's address leads to another cluster now (%s, was %s)", s.SystemID, identity.SystemID))
	case s.Recovery:
		return over(errors.New("the source's address leads to a standby now"))
	case s.Timeline != identity.Timeline:
		return over(fmt.Errorf("the source is on timeline %d now, was on %d: a standby was promoted", s.Timeline, identity.Timeline))
	case !s.Exists:
		return over(fmt.Errorf("slot %s was dropped", slot))
	case s.WALStatus == "lost":
		return over(fmt.Errorf("slot %s was invalidated by the server", slot))
	}
	return nil
}
