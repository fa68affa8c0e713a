package pgtarget

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// fits says whether a text is whole behind the input of a type that cuts what is too long in silence.
type fits func(text []byte) bool

// uncut holds, for the places of columns whose type's input cuts in silence ("char" keeps one byte, name 63), what is not cut. Nil: there are none.
// No type of PostgreSQL's own but these does so without a modifier.
func uncut(t *change.Target, server *pgconn.PgConn) map[int]fits {
	digits := server.ParameterStatus("server_version") // 15.18 (Debian …), 19beta1
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	version, _ := strconv.Atoi(digits)
	return uncutBy(t, version, server.ParameterStatus("server_encoding"))
}

func uncutBy(t *change.Target, version int, encoding string) map[int]fits {
	var out map[int]fits
	for i, o := range t.Columns {
		var f fits
		switch base := t.Table.Columns[o].Base; strings.TrimSuffix(base, "[]") {
		case `"char"`:
			f = func(text []byte) bool { return isChar(text, version) }
		case "name":
			f = func(text []byte) bool { return isName(text, encoding) }
		default:
			continue
		}
		if strings.HasSuffix(t.Table.Columns[o].Base, "[]") {
			f = everyElement(f)
		}
		if out == nil {
			out = map[int]fits{}
		}
		out[i] = f
	}
	return out
}

// isChar: above 127 PostgreSQL writes and reads \ooo from version 15 on, and before it the byte itself, which is no UTF-8. Out of a database in
// another encoding such a byte comes as a character of several bytes.
func isChar(text []byte, version int) bool {
	switch {
	case len(text) == 0 || len(text) == 1 && text[0] < utf8.RuneSelf:
		return true
	case len(text) != 4 || text[0] != '\\' || version < 15:
		return false
	}
	return text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' && text[3] <= '7'
}

const (
	nameBytes   = 63
	widestOther = 4 // bytes of a character in encodings of several bytes
)

func isName(text []byte, encoding string) bool {
	runes := utf8.RuneCount(text)
	switch {
	case encoding == "UTF8" || encoding == "SQL_ASCII":
		return len(text) <= nameBytes
	case strings.HasPrefix(encoding, "EUC_") || strings.HasPrefix(encoding, "MULE_"):
		wide := len(text) != runes
		return !wide && runes <= nameBytes || wide && widestOther*runes <= nameBytes
	}
	return runes <= nameBytes
}

// everyElement is fits for an array's text.
func everyElement(f fits) fits {
	return func(text []byte) bool {
		if at := bytes.IndexByte(text, '{'); at > 0 {
			text = text[at:] // bounds: [0:1]={…}
		}
		var element []byte
		quoted := false
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '"':
				quoted = !quoted
				continue
			case c == '\\' && i+1 < len(text):
				i++
			case !quoted && (c == '{' || c == '}' || c == ','):
				if !f(element) && string(element) != "NULL" {
					return false
				}
				element = element[:0]
				continue
			}
			element = append(element, text[i])
		}
		return true
	}
}

// setAside gives the changes of a plan that the target would carry out with a part of a value a fault, so that they are parked like those of
// earlier stages. Rows that cannot be parked stop the pipeline.
func (t *Target) setAside(p *Plan) error {
	if !t.cuts {
		return nil
	}
	for i, m := range p.all {
		for j := range m.Ops {
			place := t.targets[m.Ops[j].Target].wouldCut(&m.Ops[j])
			if place < 0 {
				continue
			}
			if !t.parkable(m) {
				return t.targets[m.Ops[j].Target].cutError(m, place)
			}
			out := *m
			out.Ops, out.Want = nil, nil
			out.Fault = &change.Fault{Stage: Stage, Code: change.FaultCut, Text: t.targets[m.Ops[j].Target].cutText(place)}
			p.all[i] = &out
			break
		}
	}
	return nil
}

// wouldCut is the place of a value that the target would cut, -1: there is none.
func (t *target) wouldCut(op *change.RowOp) int {
	for place, f := range t.uncut {
		if place < len(op.Row) && op.Row[place].Kind() == change.KindText && !f(op.Row[place].Bytes()) {
			return place
		}
		for i, k := range t.Key {
			if k == place && i < len(op.Key) && op.Key[i].Kind() == change.KindText && !f(op.Key[i].Bytes()) {
				return place
			}
		}
	}
	return -1
}

func (t *target) cutText(place int) string {
	c := t.column(place)
	return "column " + table.Quote(c.Name) + ": a value that its type " + c.Base + " cannot hold on this server, and would cut in silence"
}

func (t *target) cutError(m *change.Mapped, place int) error {
	return fault.Fatal(&ApplyError{Target: t.Table.Name, Source: m.Source, Pos: m.Pos, Err: errors.New(t.cutText(place))},
		fmt.Sprintf(`nothing at or behind this position was applied: mend the row or the mapping, or make the column %s text, then start again ("char" above 127 needs PostgreSQL 15 or later on both sides)`,
			table.Quote(t.column(place).Name)))
}
