package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"segue/pkg/change"
)

// fingerprint hashes all that decides which rows come out. Each part is written with its length, so that no two
// mappings give the same bytes.
func fingerprint(rules []*Rule) string {
	h := sha256.New()
	write(h, "segue mapping 1")
	for _, r := range rules {
		r.write(h)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func write(h hash.Hash, parts ...string) {
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
}

func (r *Rule) write(h hash.Hash) {
	write(h, "rule", r.source.Name.Schema, r.source.Name.Table, r.target.Table.Name.Schema, r.target.Table.Name.Table)
	for _, k := range r.source.Key {
		write(h, "source key", r.source.Columns[k].Name)
	}
	for i := range r.plan.columns {
		t := &r.target.Table.Columns[r.target.Columns[i]]
		write(h, "column", t.Name, t.Type, t.Base)
		r.plan.columns[i].write(h, r)
	}
	if r.target.Keyless {
		write(h, "keyless")
	}
	for _, k := range r.target.Key {
		write(h, "target key", r.target.Table.Columns[r.target.Columns[k]].Name)
	}
	if r.plan.where != nil {
		write(h, "where")
		r.plan.where.write(h)
	}
}

func (c *columnPlan) write(h hash.Hash, r *Rule) {
	switch c.kind {
	case isCopy:
		write(h, "copy", r.source.Columns[c.source].Name)
	case isConstant:
		write(h, "constant", constantText(c.value))
	case isExpression:
		write(h, "expression")
		c.expression.write(h)
	}
}

// write takes the expression as the engine prints it, so that spaces do not count, and the types that it saw.
func (x *expression) write(h hash.Hash) {
	write(h, x.normal)
	for _, in := range x.inputs {
		write(h, in.name, fmt.Sprint(in.kind))
	}
}

func constantText(v change.Value) string {
	if v.IsNull() {
		return "null"
	}
	return "text:" + string(v.Bytes())
}
