// Package pgtarget applies batches of changes to the target database. It keeps promise P4: rows and the progress row
// commit together, so that a crash anywhere leaves nothing to guess; P1: a change takes effect once, in source order, or the
// pipeline stops with its name; and P2: constraints are checked at source transaction boundaries.
//
// A batch is folded to one final operation per row and written set-wise, one statement per table, operation and set of columns. That
// form is an optimisation of the serial one (change by change, in source order) and never means anything else: where it
// fails, the batch is halved at source transaction boundaries, and the part that still fails goes the serial way.
//
// Everything that segue keeps on the target is in the schema "segue": where each migration stands, what it has asked
// for and not got yet, the foreign keys and indexes that it took away, and the snapshots that it exports.
//
// A foreign key may lie between tables of several migrations. Its definition is kept once, by the first that takes it away; each
// migration of whose tables it is, on either side, has a hold on it (segue.foreign_key_holds):
//
//	hold of a migration   since                                         it needs the key
//	none                  before PrepareKeys, behind FinishKeys         as it was
//	not loaded            PrepareKeys: its load begins, or begins anew  off
//	loaded                EnforceKeys: its load is over                 NO ACTION DEFERRABLE
//
// The key has the form that the most careful hold needs: it is off while one of them is not loaded, NO ACTION DEFERRABLE while there are any, and
// with the last one it is given back as it was and forgotten. So each key is enforced by the last migration to load and given back by the
// last to finish, in whatever order they come; one that is given up in the middle of its load finishes, too, and the others' form is then
// in force. Every step looks at the holds and alters the key in one transaction, under a lock that all migrations share.
//
// A Target is for one goroutine, with one exception: Prepare, which does no I/O, may run beside everything else.
package pgtarget
