// Package reconcile decides whether a source, seen through its mapping, and a target agree. It keeps promise P7: a
// verdict is pass, differ or unknown, and a pass has compared every row at positions that it names. It is core: no I/O,
// no clock; services/reconciler takes the digests, follows the stream and asks this package what to do next.
//
// # A round
//
//  1. The floor: a snapshot of the source, taken before anything is read. Only snapshots whose xmin has passed x0 are
//     taken, where x0 is a transaction id drawn behind the frontier from which the stream is followed.
//  2. The source's digests are read, in as many short transactions as the tables ask for, each with a snapshot later than the floor.
//  3. A watermark is written to the source's log. Its position is H; a frontier ends exactly there.
//  4. The target's digests are read in a snapshot that the applier exported right behind the commit of that frontier:
//     the target holds every change at or before H, and no later one.
//  5. Keys that were touched are left out; what is left stands comparison, at H.
//
// # Why this is exact under traffic
//
// A key is touched if a transaction that the stream delivered at or before H changed it and the floor does not see that
// transaction. Take a key that is not touched. Each transaction that changed it at or before H
//
//   - was delivered behind the frontier that the stream is followed from: then the floor sees it, or
//   - was delivered before: its id is below x0, so below the floor's xmin, and it had committed: the floor sees it.
//
// The floor sees nothing behind H, for what it sees had written its commit before the watermark was written. So for this
// key the floor shows exactly the state at H. Every later snapshot of the round was taken before H too; it sees what
// the floor sees, and any more that it saw would be a change at or before H that the floor does not see, which there is
// none of. So all the round's snapshots show the same version of the row at the same place in the heap: exactly one of the ctid ranges holds
// it (the heap is not rewritten: the file node is compared under a lock before each snapshot), and the key is counted
// once, as it stands at H. The target shows the same key as it stands at H. Equal digests are proof, different ones are drift.
//
// It does not matter that PostgreSQL makes commits visible in another order than it logs them: the rule asks for
// visibility, never for the order. The set of touched keys may be too large (the stream was followed beyond H): that
// costs another round, never a wrong verdict.
//
// A table without key is compared by lots: its key is the hash of a row's every column, so that a key is touched by every change that takes
// such a row away or puts one in, also where it puts in what it took away (its place in the heap is another then). Of a key that is not
// touched each of the equal rows is counted once, and both sides must have as many.
//
// # Convergence
//
// First all buckets of a table are compared by count and sum (Whole). Buckets that differ or hold a touched key are read
// again key by key (List), and keys that were touched even there are looked up by themselves (Keys), in rounds that get shorter, until
// none is left. A key whose hashes differ in a round in which it was not touched is drift.
//
// # What a pass says
//
// Each key was compared at a position within the span that the verdict names, and all that were in a table at the
// position at which its bucket was first compared were compared in the end. A key that came into being behind the look at its bucket belongs to the next
// comparison. With the traffic at rest the span is one state, and so is the proof.
package reconcile
