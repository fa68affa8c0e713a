package kafka

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/change"
)

// headerKey names the one header of a lane record: 8 bytes of incarnation, then the position's binary form.
const headerKey = "s"

const headerSize = 8 + change.PositionSize

func appendHeader(b []byte, incarnation int64, pos change.Position) []byte {
	return pos.Append(binary.BigEndian.AppendUint64(b, uint64(incarnation)))
}

// header finds and reads a lane record's header.
func header(r *kgo.Record) (incarnation int64, pos change.Position, err error) {
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Key == headerKey && len(h.Value) == headerSize {
			return int64(binary.BigEndian.Uint64(h.Value)), change.DecodePosition(h.Value[8:]), nil
		}
	}
	return 0, change.Position{}, fmt.Errorf("record %d of %s/%d has no position header: it was not written by segue", r.Offset, r.Topic, r.Partition)
}
