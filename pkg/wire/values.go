package wire

import "segue/pkg/change"

// appendValues adds a list of values as the fixed schemas have it: an array of the union null, string, absent.
func appendValues(b []byte, row change.Row) []byte {
	b = appendCount(b, len(row))
	for i := range row {
		switch row[i].Kind() {
		case change.KindNull:
			b = append(b, branchNull)
		case change.KindText:
			b = appendBytes(append(b, branchValue), row[i].Bytes())
		default:
			b = append(b, branchAbsent, 0)
		}
	}
	return appendEnd(b, len(row))
}

// appendOptional adds a list that may be missing.
func appendOptional(b []byte, row change.Row) []byte {
	if row == nil {
		return append(b, branchNull)
	}
	return appendValues(append(b, branchValue), row)
}

// decodeValues reads what appendValues writes; the texts are slices of the input. The row is never nil.
func decodeValues(c *cursor, a *Arena) change.Row {
	row := change.Row{}
	for n := c.block(); n > 0; n = c.block() {
		start := len(row)
		if start == 0 {
			row = a.row(n)
		} else { // several blocks: other writers may do so
			row = append(row, make(change.Row, n)...)
		}
		for i := range n {
			row[start+i] = decodeValue(c)
		}
	}
	return row
}

func decodeValue(c *cursor) change.Value {
	switch c.index(3) {
	case 0:
		return change.Null()
	case 1:
		return change.Text(c.bytes())
	}
	c.index(1) // the enum's one symbol
	return change.Absent()
}

func decodeOptional(c *cursor, a *Arena) change.Row {
	if !c.present() {
		return nil
	}
	return decodeValues(c, a)
}
