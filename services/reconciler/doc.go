// Package reconciler proves that source and target agree, or says where they do not (P7), while both are in use. The
// rules are package reconcile's; this service takes the digests of both sides, follows the stream for the keys that it touches, and
// asks the applier, through a watermark in the source's log, to stand still for the moment in which a snapshot of the
// target is exported.
//
// It only reads: the source in short transactions, a piece of a heap each (P9), the target in snapshots. Keys of
// differing rows are in its reports, which somebody asked for; never in logs or metrics (P10).
//
// Memory (P8): the answers of one round (Config.Memory, 64 MiB), the touched keys (Config.Touched per table, 100 000), one fetch of the stream.
package reconciler
