package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"segue/pkg/table"
)

// Uses says whether the rule reads the source column: for a target column, for the filter, or as the key.
func (r *Rule) Uses(column string) bool {
	at := r.source.Column(column)
	if at < 0 {
		return false
	}
	reads := append(append([]int{}, r.plan.whereInputs...), r.plan.key...)
	for i := range r.plan.columns {
		if c := &r.plan.columns[i]; c.kind != isConstant {
			reads = append(reads, c.reads()...)
		}
	}
	for _, i := range reads {
		if i == at {
			return true
		}
	}
	return false
}

// IgnoresSchema says whether changes of columns that the rule does not use stop nothing.
func (r *Rule) IgnoresSchema() bool { return r.loose }

// Shape stands for the rule and for the columns that it reads, as the source table has them: rows that were read under another one may not be
// what this one makes of them. Columns that the rule does not read do not count.
func (r *Rule) Shape(t *table.Table) string {
	h := sha256.New()
	write(h, "segue shape 1", strconv.FormatUint(uint64(t.OID), 10))
	r.write(h)
	for i := range r.source.Columns {
		name := r.source.Columns[i].Name
		if !r.Uses(name) {
			continue
		}
		at := t.Column(name)
		if at < 0 {
			write(h, "missing", name)
			continue
		}
		c := &t.Columns[at]
		write(h, "column", name, c.Type, strconv.Itoa(int(c.Number)))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
