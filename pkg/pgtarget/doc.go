// Package pgtarget applies batches of changes to the target database. It keeps promise P4: rows and the progress row
// commit together, so that a crash anywhere leaves nothing to guess; P1: a change takes effect once, in source order, or the
// pipeline stops with its name; and P2: constraints are checked at source transaction boundaries.
//
// A batch is folded to one final operation per row and written set-wise, one statement per table, operation and set of columns. That
// form is an optimisation of the serial one (change by change, in source order) and never means anything else: where it
// fails, the batch is halved at source transaction boundaries, and the part that still fails goes the serial way.
//
// Everything that segue keeps on the target is in the schema "segue": where each migration stands, what it has asked
// for and not got yet, the foreign keys that it took away, and the snapshots that it exports.
//
// A Target is for one goroutine, with one exception: Prepare, which does no I/O, may run beside everything else.
package pgtarget
