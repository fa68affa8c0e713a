package wire

import (
	"encoding/hex"
	"math"
	"strconv"

	"pgregory.net/rapid"

	"segue/pkg/change"
	"segue/pkg/table"
)

func position(t *rapid.T) change.Position {
	return change.Position{
		Epoch: rapid.Uint32().Draw(t, "epoch"), LSN: rapid.Uint64().Draw(t, "lsn"), Seq: rapid.Uint64().Draw(t, "seq"),
	}
}

func transaction(t *rapid.T) change.Tx {
	return change.Tx{XID: rapid.Uint32().Draw(t, "xid"), Committed: rapid.Int64().Draw(t, "committed")}
}

var operations = []change.Op{change.Insert, change.Update, change.Delete, change.Read, change.Truncate}

// text draws a value as PostgreSQL writes it for the kind; floats sometimes with a text of their own.
func text(t *rapid.T, k kind) string {
	switch k {
	case kindBool:
		return rapid.SampledFrom([]string{"t", "f"}).Draw(t, "bool")
	case kindInt:
		return strconv.FormatInt(int64(rapid.Int32().Draw(t, "int")), 10)
	case kindLong:
		return strconv.FormatInt(rapid.Int64().Draw(t, "long"), 10)
	case kindFloat:
		return float(t, float64(math.Float32frombits(rapid.Uint32().Draw(t, "float"))), 32)
	case kindDouble:
		return float(t, math.Float64frombits(rapid.Uint64().Draw(t, "double")), 64)
	case kindBytes:
		return `\x` + hex.EncodeToString(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	case kindString:
	}
	return rapid.String().Draw(t, "string")
}

func float(t *rapid.T, f float64, bits int) string {
	if math.IsNaN(f) {
		return "NaN" // one NaN: PostgreSQL has no text for the others
	}
	if !math.IsInf(f, 0) && rapid.IntRange(0, 9).Draw(t, "style") == 0 {
		return strconv.FormatFloat(f, 'e', -1, bits)
	}
	return string(appendFloat(nil, f, bits))
}

func value(t *rapid.T, k kind, absent bool) change.Value {
	switch n := rapid.IntRange(0, 9).Draw(t, "value"); {
	case n == 0:
		return change.Null()
	case n == 1 && absent:
		return change.Absent()
	}
	return change.String(text(t, k))
}

func drawRow(t *rapid.T, kinds []kind) change.Row {
	if rapid.IntRange(0, 3).Draw(t, "row") == 0 {
		return nil
	}
	r := make(change.Row, len(kinds))
	for i, k := range kinds {
		r[i] = value(t, k, true)
	}
	return r
}

func drawChange(t *rapid.T, r *Raw) *change.Change {
	return &change.Change{
		Pos: position(t), Tx: transaction(t), Table: r.table, Op: rapid.SampledFrom(operations).Draw(t, "op"),
		Before: drawRow(t, r.kinds), After: drawRow(t, r.kinds),
		Cascade: rapid.Bool().Draw(t, "cascade"), RestartIdentity: rapid.Bool().Draw(t, "restart"),
		Fault: drawFault(t, stubStage),
	}
}

func drawFault(t *rapid.T, stage string) *change.Fault {
	if rapid.IntRange(0, 3).Draw(t, "fault") > 0 {
		return nil
	}
	return &change.Fault{
		Stage: stage, Code: rapid.String().Draw(t, "code"), Text: rapid.String().Draw(t, "text"), Size: rapid.Int64().Draw(t, "size"),
	}
}

// drawValues draws a list of texts: nil, empty or with some.
func drawValues(t *rapid.T) change.Row {
	n := rapid.IntRange(-1, 5).Draw(t, "values")
	if n < 0 {
		return nil
	}
	r := make(change.Row, n)
	for i := range r {
		r[i] = value(t, kindString, true)
	}
	return r
}

func drawMapped(t *rapid.T) *change.Mapped {
	c := &change.Mapped{
		Pos: position(t), Tx: transaction(t), Source: drawName(t),
		SourceOp: rapid.SampledFrom(operations).Draw(t, "source op"),
		Want:     drawValues(t), SourceKey: drawValues(t), OldKey: drawValues(t), Fault: drawFault(t, "transformer"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "ops") {
		c.Ops = append(c.Ops, change.RowOp{
			Target: int(rapid.Int32().Draw(t, "target")), Op: rapid.SampledFrom(operations).Draw(t, "op"),
			Key: drawValues(t), Row: drawValues(t),
			Cascade: rapid.Bool().Draw(t, "cascade"), RestartIdentity: rapid.Bool().Draw(t, "restart"),
		})
	}
	return c
}

func drawName(t *rapid.T) table.Name {
	if rapid.Bool().Draw(t, "this table") {
		return users().Name
	}
	return table.Name{Schema: rapid.String().Draw(t, "schema"), Table: rapid.String().Draw(t, "table")}
}
