package main

import "strings"

// typeSamples are values of each type of the server's own that a column may have, by the type's name: ordinary ones and those at the
// edges. None: the type's input refuses every text, so that a column of it holds only NULL. A line that starts with "17:" is for
// servers from that version on.
func typeSamples() map[string][]string {
	all := map[string][]string{
		"bool":          {"t", "f"},
		"bytea":         {`\x`, `\x00`, `\x5c27220a0d09`, `\x` + everyByte()},
		"char":          {"a", "", " ", `"`, `'`, `\`, ",", "15:\\377", "15:\\200"},
		"name":          {"", "x", strings.Repeat("n", 63), strings.Repeat("é", 31), `a "b", {c}`, " blank "},
		"int2":          {"0", "-32768", "32767"},
		"int4":          {"0", "-2147483648", "2147483647"},
		"int8":          {"0", "-9223372036854775808", "9223372036854775807", "9007199254740993"},
		"int2vector":    {"", "1", "1 -2 32767"},
		"oidvector":     {"", "1", "1 4294967295 0"},
		"oid":           {"0", "1", "2147483648", "4294967295"},
		"xid":           {"0", "3", "4294967295"},
		"xid8":          {"0", "4294967296", "18446744073709551615"},
		"cid":           {"0", "4294967295"},
		"tid":           {"(0,0)", "(0,1)", "(4294967295,65535)"},
		"text":          {"", " ", "x", "NULL", `\N`, "null", "{}", "\t\n\r\b\f\v", `back\slash "quote" 'single', {brace} (paren)`, "\u00e9\u20ac\U0001f600\ufeff\u0301", strings.Repeat("long", 5000)},
		"bpchar":        {"", "x", "x  ", " x"},
		"varchar":       {"", "x", "x  ", "é€"},
		"json":          {`{"a":1,"a":2}`, ` { "b" : [1 , 2.50, 1e5 ] } `, "null", `"\u00e9\\"`, "\n[]\t", "1.00"},
		"jsonb":         {`{"a":1,"a":2}`, `[1, 2.50, 1e5, null, true]`, "null", `"\u00e9\\"`, "{}", "-0.0", "123456789012345678901234567890.123456789"},
		"jsonpath":      {"$", `$."a b"[*] ? (@.x > 1 && @ like_regex "^a" flag "i")`, "strict $.a.b.size()"},
		"xml":           {"<a/>", "text only", `<a b="1"> <![CDATA[<]]> é </a>`, "<a/><b/>", "", `<!DOCTYPE a><a/>`, "<!-- c --><a/>\n"},
		"point":         {"(0,0)", "(-0,1e-300)", "(Infinity,-Infinity)", "(NaN,1e300)", "(0.1,0.30000000000000004)"},
		"lseg":          {"[(0,0),(1,1)]", "[(Infinity,0),(0,-Infinity)]"},
		"path":          {"((0,0),(1,1),(2,0))", "[(0,0),(1,1)]", "[(0,0)]"},
		"box":           {"(1,1),(0,0)", "(Infinity,Infinity),(-Infinity,-Infinity)"},
		"polygon":       {"((0,0),(1,1),(2,0))", "((0,0))"},
		"line":          {"{1,2,3}", "{0,-1,0.1}", "{1,0,-Infinity}"},
		"circle":        {"<(0,0),1>", "<(1,2),Infinity>", "<(0.1,0.2),0>"},
		"float4":        {"0", "-0", "1e-45", "3.4028235e+38", "NaN", "Infinity", "-Infinity", "0.1", "16777217", "1e23"},
		"float8":        {"0", "-0", "5e-324", "1.7976931348623157e+308", "NaN", "Infinity", "-Infinity", "0.1", "1e23", "9007199254740993", "0.30000000000000004", "123456789.123456789"},
		"money":         {"0", "-92233720368547758.08", "92233720368547758.07", "1234567.89"},
		"numeric":       {"0", "0.00", "-0", "NaN", "1.10", "1.1000", "Infinity", "-Infinity", "1e100", "-1e-50", strings.Repeat("9", 400) + "." + strings.Repeat("7", 300), "0." + strings.Repeat("0", 200) + "1", "12345678901234567890.12345"},
		"macaddr":       {"08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"},
		"macaddr8":      {"08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"},
		"inet":          {"192.168.0.1", "192.168.0.1/24", "::1", "2001:db8::/32", "::ffff:1.2.3.4", "0.0.0.0/0", "10.0.0.1/32"},
		"cidr":          {"192.168.0.0/24", "::/0", "2001:db8::/32", "10.1.2.3/32"},
		"date":          {"2024-02-29", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "0001-01-01", "0001-12-31 BC", "12345-06-07"},
		"time":          {"00:00:00", "24:00:00", "23:59:59.999999", "12:00:00.1"},
		"timetz":        {"00:00:00+00", "24:00:00-15:59:59", "23:59:59.999999+15:59", "12:00:00+05:30", "01:02:03-00:00:01"},
		"timestamp":     {"2024-02-29 12:34:56.789012", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity", "-infinity", "0044-03-15 12:00:00 BC", "12345-06-07 00:00:00"},
		"timestamptz":   {"2024-02-29 12:34:56.789012+05:30", "4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "infinity", "-infinity", "1883-11-18 12:03:57-04:56:02", "12345-06-07 00:00:00+00"},
		"interval":      {"0", "1 year 2 mons 3 days 04:05:06.789", "-1 year +2 mons -3 days +04:05:06", "178000000 years", "-178000000 years", "@ 1 mon ago", "1 day", "24:00:00", "17:infinity", "17:-infinity", "-00:00:00.000001"},
		"bit":           {"1", "0"},
		"varbit":        {"", "1", strings.Repeat("10", 100)},
		"uuid":          {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"},
		"refcursor":     {"", "c", `odd "name"`},
		"tsvector":      {"", "a", `'a b':1A,2B 'it''s':3 '\\':4C`, "a:16383"},
		"tsquery":       {"", "a", "'a b':A & !b | c:*B <3> d", `'it''s' & '\\'`},
		"pg_lsn":        {"0/0", "FFFFFFFF/FFFFFFFF", "1/16B3748"},
		"txid_snapshot": {"10:20:10,14,15", "1:1:"},
		"pg_snapshot":   {"10:20:10,14,15", "1:1:"},
		"aclitem":       {"=r/postgres", "postgres=arwdDxt/postgres", "postgres=r*w*/postgres"},
		"regproc":       {"-", "now", "pg_catalog.pg_backend_pid", "999999999"},
		"regprocedure":  {"-", "now()", "abs(integer)", `"Odd Schema"."odd f"(text,"Odd Schema"."odd type")`},
		"regoper":       {"0", "pg_catalog.||/"},
		"regoperator":   {"0", "+(integer,integer)", "-(NONE,integer)"},
		"regclass":      {"-", "pg_class", `"Odd Schema"."Odd Table"`, "999999999"},
		"regtype":       {"-", "integer", "timestamp with time zone", `"Odd Schema"."odd type"`, "integer[]", "999999999"},
		"regrole":       {"-", "postgres", "999999999"},
		"regnamespace":  {"-", "pg_catalog", `"Odd Schema"`, "999999999"},
		"regconfig":     {"-", "english", "pg_catalog.simple"},
		"regdictionary": {"-", "simple", "english_stem"},
		"regcollation":  {"-", `"C"`, `"POSIX"`},
		"regdatabase":   {"-", "postgres", "999999999"},
		// The server keeps these for itself: there is no text that makes one.
		"gtsvector": nil, "pg_node_tree": nil, "pg_ndistinct": nil, "pg_dependencies": nil, "pg_mcv_list": nil,
		"pg_brin_bloom_summary": nil, "pg_brin_minmax_multi_summary": nil,
		// information_schema's domains.
		"cardinal_number": {"0", "2147483647"}, "character_data": {"", "x"}, "sql_identifier": {"", "x y"},
		"time_stamp": {"2024-02-29 12:34:56.78+00"}, "yes_or_no": {"YES", "NO"},
	}
	for name, bounds := range map[string][2]string{
		"int4": {"-5", "7"}, "int8": {"-5", "9223372036854775806"}, "num": {"-1.50", "1e30"},
		"ts": {`"2024-01-01 00:00:00"`, `"294276-12-31 23:59:59.999999"`}, "tstz": {`"0044-03-15 12:00:00+00 BC"`, `"2024-01-01 00:00:00+05:30"`}, "date": {"0044-03-15 BC", "12345-06-07"},
	} {
		if strings.Contains(bounds[0], " ") && bounds[0][0] != '"' {
			bounds[0] = `"` + bounds[0] + `"`
		}
		r := "[" + bounds[0] + "," + bounds[1] + ")"
		all[name+"range"] = []string{"empty", "(,)", r, "[" + bounds[0] + ",]", "(" + bounds[0] + "," + bounds[1] + "]"}
		all[name+"multirange"] = []string{"{}", "{(,)}", "{" + r + "}", "{(," + bounds[0] + "), [" + bounds[1] + ",)}"}
	}
	for _, name := range []string{"tsrange", "tstzrange", "daterange"} {
		all[name] = append(all[name], "[-infinity,infinity]")
	}
	return all
}

func everyByte() string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range 256 {
		b.WriteByte(digits[i>>4])
		b.WriteByte(digits[i&15])
	}
	return b.String()
}

// ownTypes makes the types that people define, in the schema "Odd Schema".
const ownTypes = `
CREATE SCHEMA "Odd Schema";
SET search_path = "Odd Schema";
CREATE TABLE "Odd Table" (i int);
CREATE TYPE "odd type" AS ENUM ('plain', 'a,b', 'it''s', '"q"', '{}', '\', ' blank ', 'NULL', 'ünïcode €', '(x)');
CREATE FUNCTION "odd f"(text, "odd type") RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN code AS varchar(5);
CREATE DOMAIN "Code 2" AS code CHECK (VALUE <> 'never');
CREATE DOMAIN ints AS int[] CHECK (array_ndims(VALUE) IS DISTINCT FROM 3);
CREATE DOMAIN moods AS "odd type"[];
CREATE TYPE pair AS (a int, b text, c "Code 2", d numeric[], e "odd type");
CREATE TYPE nested AS (p pair, ps pair[], t timestamptz, f float8, g bytea);
CREATE DOMAIN "pair d" AS pair CHECK ((VALUE).a IS DISTINCT FROM 13);
CREATE TYPE span AS RANGE (subtype = text, collation = "C");
CREATE TYPE fspan AS RANGE (subtype = float8, subtype_diff = float8mi);
RESET search_path;
`

// ownSamples are columns as people declare them: the type as it stands in CREATE TABLE, and values.
func ownSamples() map[string][]string {
	pair := `(1,"a ""b"", (c) \\",code2,"{1.10,NULL}","it's")`
	odd := `"Odd Schema".`
	return map[string][]string{
		odd + `"odd type"`:       {"plain", "a,b", "it's", `"q"`, "{}", `\`, " blank ", "NULL", "ünïcode €", "(x)"},
		odd + `code`:             {"", "abcde", "é  "},
		odd + `"Code 2"`:         {"", "abcde"},
		odd + `ints`:             {"{}", "{1,NULL,3}", "[0:1][-2:-1]={{1,2},{3,NULL}}"},
		odd + `moods`:            {"{}", `{plain,"a,b",NULL,"\"q\""}`},
		odd + `pair`:             {pair, "(,,,,)", `(,"",,{},)`},
		odd + `nested`:           {`(,,,,)`, `("(7,x,,,plain)","{""(1,\\""a b\\"",,,)"",NULL}","0044-03-15 12:00:00+00 BC",-0,"\\x00ff")`},
		odd + `"pair d"`:         {pair, "(,,,,)"},
		odd + `span`:             {"empty", "(,)", `[a,"b c")`, `["","é"]`},
		odd + `fspan`:            {"empty", "[-Infinity,Infinity]", "[0.1,0.30000000000000004)"},
		`numeric(10,3)`:          {"0", "-1234567.891", "NaN"},
		`character(7)`:           {"", "abc", "é", "1234567"},
		`varchar(9)`:             {"", "abc  ", "123456789"},
		`bit(9)`:                 {"101010101"},
		`bit varying(5)`:         {"", "10101"},
		`timestamp(3)`:           {"2024-02-29 12:34:56.789"},
		`timestamptz(0)`:         {"2024-02-29 12:34:56+00"},
		`time(0)`:                {"24:00:00"},
		`interval second(2)`:     {"1.25"},
		`interval year to month`: {"1 year 2 mons"},
	}
}

// extensionSamples are types of extensions, for where these are installed.
func extensionSamples() map[string][]string {
	return map[string][]string{
		"citext": {"", "MiXed", "É"}, "hstore": {"", `"a b"=>"c\"d", "n"=>NULL`}, "ltree": {"", "Top.Child_1.x"}, "cube": {"(1,2)", "(0.1,2),(3,4)"},
	}
}
