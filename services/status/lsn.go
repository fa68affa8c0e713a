package status

import "fmt"

// LSN is a place in the source's log; it prints as PostgreSQL does.
type LSN uint64

func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// MarshalText is String, for JSON.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
