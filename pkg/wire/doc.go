// Package wire turns changes into Avro bytes and back.
package wire
