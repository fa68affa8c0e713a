package pgscan

import (
	"bytes"
	"errors"

	"segue/pkg/change"
	"segue/pkg/table"
)

// parser takes COPY's text form as it arrives and makes rows of it: one copy of the bytes, escapes resolved in place. It is the
// io.Writer that pgconn's CopyTo wants.
type parser struct {
	columns []int // the ordinal of each field
	width   int   // values per row
	limit   int64
	largest int64 // of a row that is kept; 0: all are
	table   *table.Table
	large   map[string]int64 // see Result
	rows    []change.Row
	bytes   int64 // of all rows
	kept    int64 // of those that are in memory
	err     error

	slab    []byte         // where bytes go, until it is full
	values  []change.Value // where values go
	partial []byte         // a line whose end has not come yet
}

const (
	slabSize   = 64 << 10
	valueSlabs = 4096
)

var (
	errFields = errors.New("a row of COPY does not have the columns that were asked for")
	errEscape = errors.New("a row of COPY ends inside an escape")
)

// Write takes the next bytes; PostgreSQL sends whole lines, but nothing here rests on that.
func (p *parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && p.err == nil {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			p.partial = append(p.partial, b...)
			break
		}
		line := b[:end]
		b = b[end+1:]
		if len(p.partial) > 0 {
			line = append(p.partial, line...)
			p.partial = nil
		}
		p.err = p.line(line)
	}
	return n, p.err
}

func (p *parser) end() error {
	if len(p.partial) > 0 {
		return errFields
	}
	return p.err
}

func (p *parser) line(b []byte) error {
	size := int64(len(b))
	p.bytes += size
	large := p.largest > 0 && size > p.largest
	line := b
	if !large {
		if p.kept += size; p.limit > 0 && p.kept > p.limit {
			return ErrTooLarge
		}
		line = p.keep(b)
	}
	row := p.row()
	for i, at := range p.columns {
		field, rest, more := bytes.Cut(line, []byte{'\t'})
		if more != (i < len(p.columns)-1) {
			return errFields
		}
		if large {
			line = rest
			if !p.table.IsKey(at) {
				continue
			}
			field = p.keep(field)
		}
		v, err := value(field)
		if err != nil {
			return err
		}
		row[at], line = v, rest
	}
	p.rows = append(p.rows, row)
	if large {
		p.large = noteLarge(p.large, p.table, row, size)
	}
	return nil
}

func noteLarge(large map[string]int64, t *table.Table, row change.Row, size int64) map[string]int64 {
	if large == nil {
		large = map[string]int64{}
	}
	large[string(row.AppendKey(nil, t.Key))] = size
	return large
}

// keep copies a line to where it stays.
func (p *parser) keep(b []byte) []byte {
	if cap(p.slab)-len(p.slab) < len(b) {
		p.slab = make([]byte, 0, max(slabSize, len(b)))
	}
	at := len(p.slab)
	p.slab = append(p.slab, b...)
	return p.slab[at:]
}

func (p *parser) row() change.Row {
	if len(p.values) < p.width {
		p.values = make([]change.Value, max(valueSlabs, p.width))
	}
	row := p.values[:p.width:p.width]
	p.values = p.values[p.width:]
	return change.Row(row)
}

// value resolves one field. A lone \N is NULL; a text that reads \N comes as \\N.
func value(f []byte) (change.Value, error) {
	at := bytes.IndexByte(f, '\\')
	if at < 0 {
		return change.Text(f[:len(f):len(f)]), nil
	}
	if len(f) == 2 && f[1] == 'N' {
		return change.Null(), nil
	}
	out := f[:at]
	for i := at; i < len(f); i++ {
		c := f[i]
		if c == '\\' {
			i++
			if i == len(f) {
				return change.Value{}, errEscape
			}
			c = unescape(f[i])
		}
		out = append(out, c)
	}
	return change.Text(out[:len(out):len(out)]), nil
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'v':
		return '\v'
	}
	return c
}
