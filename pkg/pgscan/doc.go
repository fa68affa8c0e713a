// Package pgscan reads pieces of source tables for package chunk: block ranges and lists of keys, each in one short transaction that
// holds no snapshot longer than its rows take (promise P9), under the pinned settings, so that a value has the same text
// as in the stream (P1).
//
// The order inside a transaction is what the rules of package chunk rest on: lock first, so that no TRUNCATE or rewrite can
// commit between the snapshot and the rows; compare the filenode; take the snapshot; read.
//
// Memory: one chunk's rows, bounded by the caller's limit.
package pgscan
