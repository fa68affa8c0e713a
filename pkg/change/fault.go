package change

// Fault is why a change cannot be applied as it is: it travels on in its place, without the values, and the applier parks its key
// (promise P1: it is neither dropped nor does it stop the others).
type Fault struct {
	Stage string // who could not take it on
	Code  string
	Text  string // what is wrong, for people: never a row's value
	Size  int64  // bytes that did not fit; 0: it is not about size
}

// The codes of faults that no database gave.
const (
	FaultTooLarge = "too_large" // the record is larger than its topic takes
	FaultMapping  = "mapping"   // the mapping has no result for this row
	FaultCut      = "would_cut" // the target's type would keep only a part of a value, and say nothing
	FaultJoined   = "joined"    // a change of a parked key that does not hold the whole row
)
