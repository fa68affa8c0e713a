// Package wire turns changes, mapped changes, frontier records and requests into Avro bytes and back, or raw changes into JSON. It is the adapter
// to the schema registry, and the only place that knows a byte of what stands in Kafka's records. It keeps P1 on
// the way through Kafka: a value arrives as the very text that PostgreSQL wrote, absent stays absent, NULL stays NULL;
// what cannot be read for certain is an error, never a guess. Its codecs are written by hand, because a library
// that goes through maps costs more than all the rest of a change's way; tests hold them equal to goavro byte for byte.
//
// # Framing
//
// Every key and value has Confluent's form:
//
//	byte 0      0x00
//	bytes 1–4   the schema's id in the registry, big endian
//	bytes 5–    the Avro body
//
// Subjects are <topic>-value and <topic>-key. A record with another id than the codec's own is read if that id's schema says
// the same: names, types, order, and each column's name and base type (pg.name, pg.base). A raw value of another shape of its
// table is read by its writer's schema and brought to the present shape (change.Projection). All else is a fatal error.
//
// Without a registry (kafka.wire: json) the records of fixed schemas have the form that Avro calls single-object encoding instead:
//
//	bytes 0–1   0xC3 0x01
//	bytes 2–9   the schema's fingerprint, CRC-64-AVRO of its Parsing Canonical Form, little endian
//	bytes 10–   the Avro body
//
// So the first byte tells the form of the wire, and a record of the other form is a fatal error that says so: a migration keeps the
// form that it began with.
//
// # Avro in brief
//
//	long, int      zigzag (0, -1, 1, -2 → 0, 1, 2, 3), then seven bits a byte, low ones first, the high bit on all but the last
//	boolean        one byte, 0 or 1
//	float, double  4 or 8 bytes, little endian IEEE 754
//	string, bytes  length as long, then the bytes
//	enum           the symbol's index as int
//	union          the branch's index as long, then its value; null has no bytes
//	array          blocks of (count as long, items), ended by a count of 0; a negative count is followed by the block's size in bytes
//	record         its fields, nothing between them
//
// Unsigned numbers of 64 bits (LSN, sequence) are longs with the same bits.
//
// # Raw topics
//
// The value is an Envelope with Debezium's shape and names, in the namespace <migration>.<schema>.<table>:
//
//	before       union null, Value: the old row
//	after        union null, Value: the new row
//	source       schemas/source.avsc: version, connector, name, server_version, db, schema, table (the same in all records of a
//	             writer), snapshot (incremental for a row that a chunk read, else false), ts_ms, ts_us (commit), txId, lsn
//	transaction  union null, schemas/transaction.avsc: id (txId:lsn), total_order; null for a row that a chunk read
//	op           string: c, u, d, r (read), t (truncate)
//	ts_ms, ts_us union null, long: when the record was made
//	segue        schemas/segue.avsc: epoch, seq, absent_before, absent_after, texts, cascade, restart_identity, stub
//
// The change's position is (segue.epoch, source.lsn, segue.seq). Value has a field per column, in the catalog's order, each a
// union of null and the column's type:
//
//	boolean                     boolean
//	smallint, integer           int
//	bigint                      long
//	real, double precision      float, double
//	bytea                       bytes
//	everything else             string: PostgreSQL's own text under the pinned settings
//
// A domain travels as its base type. A field carries properties: pg.name (the column's true name), pg.type (as declared),
// pg.base (without domain and modifier), pg.modifier (atttypmod). Its own name is the column's with every byte that Avro does not allow
// written _xHH, and an underscore before an x too, so that no two names meet.
//
// Null means NULL, except for the fields that absent_before or absent_after list by index: those the source did not send
// (unchanged TOAST, or not part of the old key), and nothing stands for them. The field's value gives back PostgreSQL's
// text, except for those that texts lists: their text is what stands there. That is so for floats that PostgreSQL prints
// with other digits than the shortest (1e23 is 9.999999999999999e+22 there; they are rare), and for what is not
// of the column's type, if there ever were such a thing; so the codec loses nothing whatever it is given.
//
// A stub stands where a row is too large for its topic: its rows hold the key's columns, all others are listed as absent, and segue.stub
// is not null. Who reads these topics with other tools must look there before taking absent fields for unchanged ones.
//
// The key is a record Key of the key's columns, in key order, typed as above and never null. The lane is murmur2 over the
// key's body without the framing, the low 31 bits modulo the number of partitions: where Kafka's own clients would put a key
// of these bytes. A table without key has none.
//
// # Raw topics with kafka.wire: json
//
// Key and value are what Kafka Connect's JsonConverter writes with schemas.enable=true: {"schema":…,"payload":…}, in UTF-8, without
// white space. The schema's text is the same in all records of a table's shape. The payload is the envelope above, member for member, in that
// order, with JSON's null for null; the fields of before, after and the key bear the columns' own names. Column types:
//
//	boolean                     boolean: true, false
//	smallint, integer, bigint   int16, int32, int64: PostgreSQL's text is the number
//	real, double precision      float, double: PostgreSQL's text is the number; Infinity is 1e999, -Infinity is -1e999
//	bytea                       bytes: a string of base64 with padding
//	everything else             string: PostgreSQL's own text, with the parameters pg.base and, where there are, pg.type and pg.modifier
//
// 1e999 is beyond every double, so Connect reads it as infinity. (Its converter writes "Infinity" and "NaN" and reads both back as 0.)
// What the typed field cannot hold is null there, and its text stands in segue.texts, whose items are {"row":"before"|"after",
// "field":index,"text":string|null,"bytes":base64|null}: NaN; and what is not of the column's type, if there ever were such a thing. bytes
// instead of text says that it is not UTF-8, as a database with the encoding SQL_ASCII may hold. Numbers of 64 bits are signed, with the same bits.
//
// A field of after that absent_after lists is null, or where before holds the column (REPLICA IDENTITY FULL) what stands there: it is
// unchanged, and tools that look at after alone find it.
//
// The envelope's schema is named <migration>.<schema>.<table>.Envelope, as Debezium's are; the rows' .Value, the keys' .Key. All fields of
// rows are optional, those of the key are not. NaN, and a text that is not UTF-8, are null in a key all the same: no reader takes that for another key.
// The lane is murmur2 over the key's payload, from its first brace to its last.
//
// Decoding takes members in any order, white space and other escapes. It refuses members that are missing, twice or unknown, integers
// with fraction or exponent, numbers out of range, strings that are not UTF-8, base64 that is not exact, and a schema whose fields, types or
// pg.base are not those of the table.
//
// # Shaped and unique topics
//
// One schema for all tables, schemas/mapped.avsc: position, xid, committed, schema, table, op, ops (target's index, op, key, row,
// cascade, restart_identity), want, source_key, old_key, fault. A row is an array whose items are null, a string (PostgreSQL's text) or the enum
// Absent, in the order of the target's columns; so a value is one byte for NULL, 0x04 0x00 for absent, else 0x02, length, text.
// The key (schemas/mapped-key.avsc) is the source key, for people: the lane is the input's, whatever the key.
//
// # Frontier topics, requests, dead letters
//
// schemas/frontier.avsc is a record with one field, the union of Claim and Frontier; schemas/request.avsc is a request;
// schemas/dead.avsc the shape of a dead letter. Positions are records of three longs: epoch, lsn, seq.
package wire
