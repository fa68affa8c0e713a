package check

import "fmt"

// oldest is the first version of PostgreSQL that segue works with.
const oldest = 140000

// version looks at a server's version; number is its server_version_num.
func (r *report) version(side string, number int, version string) {
	if number < oldest {
		r.error(side, "PostgreSQL "+version+" is too old: segue works with 14 and later", "upgrade the server")
	}
	if mended := mendedIn(number); side == "source" && mended != "" {
		r.warn(side, "PostgreSQL "+version+" may leave changes out of the log's stream: those of a table that came into the publication while a transaction that had begun before wrote to it; "+
			"mended in "+mended,
			"install PostgreSQL "+mended+" or a later one of that series and restart the server; until then take the first start, and each table that is added, "+
				"to a time when nobody writes to the tables, and run segue reconcile after it")
	}
}

// mendedIn names the release that mended the server's fault with publications that change while transactions run (before it, logical
// decoding did not hand a catalog's change on to transactions that were open). Nothing: the server has it.
func mendedIn(number int) string {
	first := map[int]int{14: 18, 15: 13, 16: 9, 17: 5}
	major, minor := number/10000, number%10000
	if want, ok := first[major]; ok && minor < want {
		return fmt.Sprintf("%d.%d", major, want)
	}
	return ""
}
