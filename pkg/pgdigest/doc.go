// Package pgdigest reads digests of rows from PostgreSQL, as package reconcile defines them: in the server, where rows
// stand as they are to be compared (no row travels), or row by row, where a mapping has to make them first. It serves P7
// (both forms give the same digest for the same row) and P9: a source is read in short transactions, a piece of a
// heap each, with timeouts, under the weakest lock.
//
// The text of a value is what its type's output function says, under the pinned settings. A cast to text says something else for some
// types (boolean, character(n), inet), so concat is used, which calls the output function.
package pgdigest
