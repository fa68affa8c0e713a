package check

import (
	"context"

	"github.com/jackc/pgx/v5"

	"segue/pkg/postgres"
)

// unknownEncoding is the encoding of a database whose server does not know what its bytes mean: it converts nothing, and counts bytes.
const unknownEncoding = "SQL_ASCII"

func (r *report) encodingOf(ctx context.Context, side string, conn *pgx.Conn) string {
	var name string
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_encoding')").Scan(&name); err != nil {
		r.failure(side, postgres.Safe(err))
	}
	return name
}

// encodings says what cannot be converted on the way: everything travels as UTF-8.
func (r *report) encodings(source, target string) {
	if source == unknownEncoding {
		r.warn("source", "its encoding is SQL_ASCII: the server hands bytes on without knowing what they mean. Texts that are UTF-8 arrive; the pipeline stops at the first one that is not, and says where. "+
			"character(n) counts bytes there, so that its padding differs from a target that counts characters",
			"SELECT count(convert_to(c, 'UTF8')) FROM t; -- for each column of text: it fails where one is not UTF-8. To mend those of a column in WIN1252, say: "+
				"UPDATE t SET c = convert_from(convert(textsend(c), 'WIN1252', 'UTF8'), 'SQL_ASCII') WHERE …;")
	}
	switch target {
	case "", "UTF8", source:
	case unknownEncoding:
		r.error("target", "its encoding is SQL_ASCII: it counts bytes where the source counts characters, so that varchar(n) refuses texts that fit, and it checks nothing that others write",
			"CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0; -- and name it in target.postgres in segue.yaml")
	default:
		r.warn("target", "its encoding is "+target+": the pipeline stops at the first text with a character that "+target+" does not have",
			"CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0; -- or make sure that the source, in "+named(source)+", holds no other characters")
	}
}

func named(encoding string) string {
	if encoding == "" {
		return "an encoding that could not be read"
	}
	return encoding
}
