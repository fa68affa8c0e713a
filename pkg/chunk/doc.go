// Package chunk holds the rules by which pieces of a table are read while its changes stream by, so that reading is
// parallel, resumable and never moves a row back in time (promises P1, P6 and P9). It is core: no I/O, no goroutine, no
// clock; package pgscan reads, the reader decides by these rules.
//
// A chunk is a range of heap blocks (Plan) or a list of keys. It is read between two watermarks: logical messages in
// transactions of their own (Mark), which the reader meets in the stream. The rules, as section 6 of the design numbers
// them:
//
//  1. The low watermark has been met in the stream before the chunk's snapshot is taken. A Window collects the table's changes from
//     there on.
//  2. The chunk is read in one short transaction: lock, compare the filenode, take the Snapshot, copy.
//  3. When the stream passes the high watermark, the chunk's rows, overlaid with the window's changes that the snapshot
//     does not contain, are the truth at the high watermark's position: Window.Rows and Window.Keys.
//  4. PostgreSQL makes transactions visible in another order than it writes their commits to the log. A transaction that the
//     stream delivered before the low watermark and that the snapshot does not contain voids the chunk: it is read again
//     (Visibility). What committed before the stream began is unknown to the stream: no chunk is read before a
//     snapshot has passed an xid taken after that (Snapshot.Passed).
//  5. A key that was asked for and is not there at the high watermark comes as a delete.
//
// Rule 3 rests on row locks: a transaction changes a row, or a key, only once the one that changed it before is visible.
// So of the window's changes to one key the snapshot contains a beginning, and the rest applies on top in stream order.
package chunk
