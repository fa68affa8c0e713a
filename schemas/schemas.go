// Package schemas holds the fixed schemas of what segue writes, for its own codecs and for everybody else's tools: the Avro
// schemas of frontier, request, mapped and dead letter records, and the parts that a raw record's schema is put together
// from (its row part is the table's own, made by package wire). One copy each: what is published is what is used.
package schemas

import _ "embed" // the schemas are files, so that people and tools can read them

// The Avro schemas.
var (
	// Frontier is the record of a frontier topic: a claim or a frontier.
	//go:embed frontier.avsc
	Frontier string
	// Request is the record of the requests topic.
	//go:embed request.avsc
	Request string
	// Mapped is the value of the shaped and unique topics, MappedKey their key.
	//go:embed mapped.avsc
	Mapped string
	//go:embed mapped-key.avsc
	MappedKey string
	// Dead is the value of the dead letter topic.
	//go:embed dead.avsc
	Dead string
	// Source, Transaction and Segue are the parts of a raw record that are the same for every table.
	//go:embed source.avsc
	Source string
	//go:embed transaction.avsc
	Transaction string
	//go:embed segue.avsc
	Segue string
)
