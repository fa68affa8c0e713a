package pgtarget

import (
	"testing"

	"segue/pkg/change"
)

// A change that does nothing and joins is counted once.
func TestCountersOfAFilteredChangeThatJoins(t *testing.T) {
	r := newParkedRig(t)
	r.stub(change.Insert, "", "1")
	r.must()
	r.add(change.Mapped{SourceOp: change.Update, Source: r.source(0), SourceKey: row("1")})
	r.must()
	r.want(parkedSQL, "1:insert:too_large:2")
	r.want("SELECT changes, row_ops, filtered, parked FROM segue.progress", "2,0,0,2")
}
