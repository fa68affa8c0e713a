package pgsource

import (
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// lsnOfContext takes the place in the log out of the context of an error of logical decoding. Nothing else of that text is shown: it is the
// server's, in its language.
var lsnOfContext = regexp.MustCompile(`\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b`) //nolint:gochecknoglobals // a constant

// serverError is the error that ended the stream. The log keeps what it holds: a text that cannot be sent as UTF-8 ends the stream at the same place
// every time, whatever becomes of its row.
func serverError(pg *pgconn.PgError) error {
	safe := postgres.Safe(pg)
	if !postgres.Untranslatable(safe) {
		return fmt.Errorf("replication stream: %w", safe)
	}
	at := lsnOfContext.FindString(pg.Where)
	if at == "" {
		at = "an unknown place"
	}
	return fault.Fatal(
		fmt.Errorf("replication stream: the change at %s of the source's log holds a text that has no form in UTF-8: %w; stopped before it, no data is at risk", at, safe),
		"find the text: pg_waldump --start "+at+" --limit 1 names its table's file, SELECT count(convert_to(c, 'UTF8')) FROM t fails for its column; "+
			"correct it on the source; the log still has the old one, so read all tables again: segue source finish, then segue run reader --new-history (or run all)")
}
