package reader

import (
	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/pgscan"
	"segue/pkg/table"
)

// job is one chunk on its way: a range of blocks, or keys that requests asked for. Its worker owns it; what the loop uses is set
// under the desk's lock.
type job struct {
	table    *table.Table
	chunk    chunk.Chunk
	keys     []change.Row  // rows of the table's width with the key's columns set; nil for a range
	rest     []change.Row  // keys that are read after these, in pieces that fit
	lines    []chunk.Lines // of a single block that is read in pieces: what is read after this one
	requests []int64       // offsets that the keys came from: answered with the last piece
	part     *resync       // what the range belongs to; nil: the plan of all tables

	low, high string
	window    *chunk.Window
	unseen    chunk.Unseen
	started   chan struct{} // closed when the loop met the low watermark
	result    pgscan.Result
	done      chan verdict

	whole Whole // all of a table without key, once its snapshot is there

	failures int // by errors
	voids    int // by what happened on the source
}

// why says why a chunk is read again.
type why string

const (
	againInvisible why = "invisible" // a commit before its low watermark was not visible in its snapshot yet
	againOverflow  why = "overflow"  // more changes came than its window holds
	againMoved     why = "moved"     // a row moved onto an asked key, and the log does not have all of it
	againTooLarge  why = "large"     // more rows than a chunk may hold
	againRewritten why = "rewritten" // the heap has another file
	againError     why = "error"
	againWrong     why = "wrong"  // a key that is no value of its column's type, a predicate that fails
	againPassed    why = "passed" // the changes since its snapshot are not all there any more
)

// verdict is what the loop made of a chunk.
type verdict struct {
	again   why // "": the rows are in the lanes
	emitted int
}

func (j *job) end(v verdict) { j.done <- v }

// split halves the keys; false where there is but one.
func (j *job) split() bool {
	half := len(j.keys) / 2
	if half == 0 {
		return false
	}
	j.keys, j.rest = j.keys[:half:half], append(j.keys[half:len(j.keys):len(j.keys)], j.rest...)
	return true
}

// single says that the range is one block, the least that a plan hands out.
func (j *job) single() bool {
	return j.keys == nil && !j.chunk.Open && j.chunk.Range.To-j.chunk.Range.From <= 1
}

// splitBlock halves what is read of a single block; false where it is a single row version already.
func (j *job) splitBlock() bool {
	first, second, ok := j.chunk.Lines.Halve()
	if ok {
		j.voids = 0 // what is smaller need not wait
		j.chunk.Lines, j.lines = first, append([]chunk.Lines{second}, j.lines...)
	}
	return ok
}

// more goes on to the next piece: of a block, or of the keys, somewhat larger than the last; false where that was the last.
func (j *job) more() bool {
	if j.keys == nil {
		if len(j.lines) == 0 {
			return false
		}
		j.chunk.Lines, j.lines = j.lines[0], j.lines[1:]
		return true
	}
	n := min(len(j.keys)+len(j.keys)/4+1, maxKeys, len(j.rest))
	j.keys, j.rest = j.rest[:n:n], j.rest[n:]
	return n > 0
}

// name is the job for people.
func (j *job) name() string {
	if j.keys != nil {
		return j.table.Name.String() + " by key"
	}
	if j.part != nil {
		return j.chunk.Leaf.String() + " by predicate"
	}
	return j.chunk.Leaf.String()
}
