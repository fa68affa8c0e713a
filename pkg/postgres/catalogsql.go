package postgres

// allTablesSQL lists what a publication can hold, the roots of partitioned tables instead of their leaves.
const allTablesSQL = `
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// tablesSQL gives one row per asked name, in their order, with NULLs for a table that does not exist.
const tablesSQL = `
SELECT c.oid, c.relkind::text, c.relreplident::text, k.attnums, k.equals
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS want (nsp, rel, ord)
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = want.nsp
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.rel
LEFT JOIN LATERAL (/*key*/) k ON true
ORDER BY want.ord`

// keyColumnsSQL are an index's key columns without the included ones, in the index's order.
const keyColumnsSQL = `
	SELECT (SELECT pg_catalog.array_agg(a.attnum ORDER BY a.place)
	        FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY AS a (attnum, place)
	        WHERE a.place <= i.indnkeyatts) AS attnums,
	       (SELECT pg_catalog.array_agg('OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')' ORDER BY x.place)
	        FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS x (place)
	        JOIN pg_catalog.pg_opclass p ON p.oid = i.indclass[x.place]
	        JOIN pg_catalog.pg_amop m ON m.amopfamily = p.opcfamily AND m.amopstrategy = 3
	             AND m.amoplefttype = p.opcintype AND m.amoprighttype = p.opcintype
	        JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
	        JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace) AS equals
	FROM pg_catalog.pg_index i
	WHERE i.indrelid = c.oid AND i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
	  AND 0 <> ALL (i.indkey::smallint[])`

// sourceKeySQL finds the index behind the replica identity.
const sourceKeySQL = keyColumnsSQL + `
	  AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END
	LIMIT 1`

// targetKeySQL finds the index that identifies a row for ON CONFLICT. Among several the primary key, then the one with the fewest
// columns, then the oldest.
const targetKeySQL = keyColumnsSQL + `
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
	                  WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]) AND NOT a.attnotnull)
	ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
	LIMIT 1`

// columnsSQL reads the columns. Names of types outside pg_catalog are always written with their schema, whatever the
// session's search_path is: format_type alone leaves it out where the path has it.
//
// A base type is found by going down through domains, and through an array's element where that is a domain. Its name is
// format_type(oid, -1): with -1 PostgreSQL writes bpchar and "bit", which a cast does not cut (character and bit
// mean char(1) and bit(1)). An array of a domain over an array has no base type of its own and stays.
const columnsSQL = `
WITH RECURSIVE att AS (
	SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attgenerated, a.attidentity
	FROM pg_catalog.pg_attribute a
	WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
), walk AS (
	SELECT DISTINCT atttypid AS root, atttypid AS at, false AS element, 0 AS depth FROM att
	UNION ALL
	SELECT w.root, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, w.element OR t.typtype <> 'd', w.depth + 1
	FROM walk w
	JOIN pg_catalog.pg_type t ON t.oid = w.at
	LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
	WHERE t.typtype = 'd' OR (e.typtype = 'd' AND NOT w.element)
), base AS (
	SELECT DISTINCT ON (w.root) w.root,
	       CASE WHEN NOT w.element THEN w.at WHEN t.typarray <> 0 THEN t.typarray ELSE w.root END AS oid
	FROM walk w
	JOIN pg_catalog.pg_type t ON t.oid = w.at
	ORDER BY w.root, w.depth DESC
), named AS (
	SELECT t.oid, n.nspname = 'pg_catalog' AS builtin,
	       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(coalesce(e.typname, t.typname)) AS qualified,
	       CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END AS brackets
	FROM pg_catalog.pg_type t
	LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
	JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(e.typnamespace, t.typnamespace)
	WHERE t.oid IN (SELECT root FROM base UNION SELECT oid FROM base)
)
SELECT att.attrelid, att.attnum, att.attname, att.atttypid, att.atttypmod,
       CASE WHEN d.builtin THEN pg_catalog.format_type(att.atttypid, att.atttypmod)
            ELSE d.qualified || pg_catalog.substr(pg_catalog.format_type(att.atttypid, att.atttypmod),
                 pg_catalog.length(pg_catalog.format_type(att.atttypid, NULL)) - pg_catalog.length(d.brackets) + 1) END,
       CASE WHEN b.builtin THEN pg_catalog.format_type(base.oid, -1) ELSE b.qualified || b.brackets END,
       att.attnotnull, att.atthasdef OR att.attidentity <> '', att.attgenerated <> '', att.attidentity = 'a'
FROM att
JOIN base ON base.root = att.atttypid
JOIN named d ON d.oid = att.atttypid
JOIN named b ON b.oid = base.oid
ORDER BY att.attrelid, att.attnum`
