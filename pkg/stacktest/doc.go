// Package stacktest is the test stack on real parts: it builds the segue binary and runs its services as separate processes
// between two PostgreSQL clusters, Apache Kafka, a schema registry and Redis, kills and restarts them, waits until the target has
// everything that the source committed, and compares both stores by SQL of the test's own, never by the product's reconciler.
// The tests named TestReal are the real layer; BenchmarkCustomers and BenchmarkLatency measure the same stack beside
// PostgreSQL's own logical replication (`make bench`).
//
// The servers are started once per test process and shared; each test has databases and a migration name of its own. Whatever
// ends the test process, its servers and services end with it and their folder is removed.
package stacktest
