package schemas

import _ "embed" // the schema is a file, so that editors can read it

// Migration is the JSON Schema (draft 2020-12) of segue.yaml; a test of package migration holds the parser to it.
//
//go:embed segue.schema.json
var Migration string
