package pgsource

import "fmt"

// LSN is a place in the log, printed as PostgreSQL does.
type LSN uint64

func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }
