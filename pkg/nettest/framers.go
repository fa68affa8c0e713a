package nettest

import (
	"bytes"
	"encoding/binary"
)

// Framer tells the messages of one client connection apart.
type Framer interface {
	// Next returns the length of the first whole message, and its name where it has one; 0 where more bytes are needed.
	Next(b []byte) (size int, name string)
}

// Messages by name.
const (
	// ProduceLane and ProduceFrontier are Kafka's produce requests: those with a frontier topic in them, and the others.
	ProduceLane     = "produce lane"
	ProduceFrontier = "produce frontier"
	// Status is the standby status update of a replication connection: what confirms an LSN to the slot.
	Status = "status"
	// Stream is START_REPLICATION.
	Stream = "stream"
	// Replication opens a replication connection.
	Replication = "replication"
	// Any is every message that a framer names. PostgreSQL's are named by their kind: startup, parse, bind, execute, sync, query, copy data, …
	Any = "any"
)

// Kafka frames requests to a broker. Frontier topics are known by their names, which stand in produce requests up to version 12: a broker that speaks
// a later one must be kept from it.
func Kafka() Framer { return kafka{} }

type kafka struct{}

const produceKey = 0

// Next implements Framer.
func (kafka) Next(b []byte) (int, string) {
	if len(b) < 8 {
		return 0, ""
	}
	size := 4 + int(binary.BigEndian.Uint32(b))
	if len(b) < size {
		return 0, ""
	}
	if binary.BigEndian.Uint16(b[4:]) != produceKey {
		return size, ""
	}
	if bytes.Contains(b[:size], []byte(".frontier")) {
		return size, ProduceFrontier
	}
	return size, ProduceLane
}

// Postgres frames what a client sends to a server, without TLS.
func Postgres() Framer { return &postgres{} }

type postgres struct{ started, replicates bool }

const protocolVersion3 = 3

// Next implements Framer.
func (p *postgres) Next(b []byte) (int, string) {
	if !p.started {
		return p.startup(b)
	}
	if len(b) < 5 {
		return 0, ""
	}
	size := 1 + int(binary.BigEndian.Uint32(b[1:]))
	if len(b) < size {
		return 0, ""
	}
	switch {
	case p.replicates && b[0] == 'd' && size > 5 && b[5] == 'r':
		return size, Status
	case p.replicates && b[0] == 'Q' && bytes.HasPrefix(b[5:size], []byte("START_REPLICATION")):
		return size, Stream
	}
	return size, messages[b[0]]
}

// messages are the others that an ordinary session sends.
var messages = map[byte]string{
	'P': "parse", 'B': "bind", 'D': "describe", 'E': "execute", 'S': "sync", 'H': "flush", 'C': "close",
	'Q': "query", 'd': "copy data", 'c': "copy done", 'f': "copy fail", 'p': "password", 'X': "terminate",
}

// startup frames what comes before the first typed message: requests for encryption, then the startup message itself.
func (p *postgres) startup(b []byte) (int, string) {
	if len(b) < 8 {
		return 0, ""
	}
	size := int(binary.BigEndian.Uint32(b))
	if len(b) < size {
		return 0, ""
	}
	p.started = binary.BigEndian.Uint16(b[4:]) == protocolVersion3
	p.replicates = p.started && bytes.Contains(b[:size], []byte("\x00replication\x00"))
	if p.replicates {
		return size, Replication
	}
	return size, "startup"
}
