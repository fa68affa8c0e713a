// Package demo is segue's demonstration: a legacy shop with all the dirt of twelve years, a new store with another schema, traffic, and a run of
// the real services between them that shows the promises at work, a SIGKILL included. It is also the load of the compose file
// and of the tests. It proves nothing by itself: the reconciler does.
package demo

import (
	_ "embed" // the shop's statements and its segue.yaml
)

//go:embed shop/legacy.sql
var legacyStatements string

//go:embed shop/target.sql
var targetStatements string

//go:embed shop/segue.yaml
var shopConfig string

func legacySQL() string { return legacyStatements }
func targetSQL() string { return targetStatements }

// Config is the shop's segue.yaml: it takes the two databases from LEGACY_URL and TARGET_URL.
func Config() string { return shopConfig }
