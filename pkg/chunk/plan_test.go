package chunk_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/table"
)

func heapOf(blocks uint32) chunk.Heap {
	return chunk.Heap{Table: modelTable, Leaf: modelTable.Name, Filenode: 5, Blocks: blocks, Bytes: int64(blocks) * chunk.BlockBytes}
}

func TestPlanCoversEveryBlockOnce(t *testing.T) {
	p := chunk.NewPlan([]chunk.Heap{heapOf(1100)}, nil, 4<<20)
	var got []frontier.Range
	for c, ok := p.Next(); ok; c, ok = p.Next() {
		if c.Open != (c.Range.To == 1100) {
			t.Errorf("%v: open is %v", c.Range, c.Open)
		}
		got = append(got, c.Range)
		if l, ok := p.Finish(c); !ok || l.Complete != c.Open {
			t.Errorf("%v: %v", c.Range, l)
		}
	}
	want := []frontier.Range{{To: 512}, {From: 512, To: 1024}, {From: 1024, To: 1100}}
	if !slices.Equal(got, want) || !p.Complete() {
		t.Errorf("got %v, complete %v", got, p.Complete())
	}
}

func TestPlanOfAnEmptyHeapReadsItOnce(t *testing.T) {
	p := chunk.NewPlan([]chunk.Heap{heapOf(0)}, nil, 4<<20)
	c, ok := p.Next()
	if !ok || !c.Open || p.Complete() {
		t.Fatalf("%v %v", c, ok)
	}
	if _, more := p.Next(); more {
		t.Error("twice")
	}
	if l, _ := p.Finish(c); !l.Complete || !p.Complete() {
		t.Error("not complete")
	}
	if again := chunk.NewPlan([]chunk.Heap{heapOf(3)}, p.Loads(), 4<<20); !again.Complete() {
		t.Error("a complete heap is read again after a restart")
	}
}

func TestPlanCountsLargeValues(t *testing.T) {
	h := heapOf(100)
	h.Bytes = 100 * 1 << 20 // a MiB of TOAST per block
	c, _ := chunk.NewPlan([]chunk.Heap{h}, nil, 4<<20).Next()
	if c.Range.To != 4 {
		t.Errorf("a chunk of 4 MiB has %d blocks of 1 MiB", c.Range.To)
	}
}

func TestPlanGrowsBeforeTheOpenEnd(t *testing.T) {
	p := chunk.NewPlan([]chunk.Heap{heapOf(100)}, nil, 4<<20)
	c, _ := p.Next()
	p.Grow(c, 1000)
	c, _ = p.Next()
	if c.Open || c.Range.To != 100 {
		t.Fatalf("%v", c)
	}
	p.Finish(c)
	c, _ = p.Next()
	if c.Open || c.Range != (frontier.Range{From: 100, To: 612}) {
		t.Fatalf("%v", c)
	}
	p.Again(c, true)
	if c, _ = p.Next(); c.Range != (frontier.Range{From: 100, To: 356}) {
		t.Fatalf("half is %v", c.Range)
	}
}

// A window that overflowed while the stream was far behind, or a few wide rows, must not leave the rest of a large table in the smallest pieces.
func TestPlanRecoversFromSmallChunks(t *testing.T) {
	p := chunk.NewPlan([]chunk.Heap{heapOf(100_000)}, nil, 4<<20)
	c, _ := p.Next()
	for c.Range.To-c.Range.From > 1 {
		p.Again(c, true)
		c, _ = p.Next()
	}
	n := 0
	for ; c.Range.To-c.Range.From < 512 && n < 100; n++ {
		p.Finish(c)
		c, _ = p.Next()
	}
	if n < 5 || n > 30 {
		t.Errorf("%d chunks until %v", n, c.Range)
	}
}

func TestPlanRestartsARewrittenHeap(t *testing.T) {
	p := chunk.NewPlan([]chunk.Heap{heapOf(1100)}, nil, 4<<20)
	first, _ := p.Next()
	late, _ := p.Next()
	p.Finish(first)
	h := heapOf(10)
	h.Filenode = 6
	if l := p.Restart(h); l.Filenode != 6 || len(l.Done) != 0 || l.Complete {
		t.Fatalf("%v", l)
	}
	if _, ok := p.Finish(late); ok {
		t.Error("a range of the old file counts")
	}
	c, _ := p.Next()
	if l, ok := p.Finish(c); !ok || !l.Complete {
		t.Errorf("%v %v", l, ok)
	}
}

func TestPlanResumesByFilenode(t *testing.T) {
	load := frontier.Load{Table: modelTable.Name, Leaf: modelTable.Name, Filenode: 4, Blocks: 10, Done: []frontier.Range{{To: 5}}}
	if c, _ := chunk.NewPlan([]chunk.Heap{heapOf(10)}, []frontier.Load{load}, 4<<20).Next(); c.Range.From != 0 {
		t.Error("ranges of another file count")
	}
	leaf := heapOf(10)
	leaf.Leaf = table.Name{Schema: "public", Table: "t_1"}
	load = frontier.Load{Table: modelTable.Name, Leaf: leaf.Leaf, Filenode: 4, Blocks: 10, Done: []frontier.Range{{To: 10}}, Complete: true}
	if chunk.NewPlan([]chunk.Heap{leaf}, []frontier.Load{load}, 4<<20).Complete() {
		t.Error("a partition with a new file counts as loaded: it may have been truncated, which no stream tells")
	}
}

// Whatever is handed out, finished, taken back, grown and restarted in whatever order: in the end each block was finished exactly
// once, and the open end with it.
func TestPlanIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.Uint32Range(0, 40).Draw(t, "blocks")
		p := chunk.NewPlan([]chunk.Heap{heapOf(blocks)}, nil, 4*chunk.BlockBytes)
		var out []chunk.Chunk
		seen := map[uint32]int{}
		open := 0
		for step := 0; !p.Complete(); step++ {
			pick := rapid.IntRange(0, 9).Draw(t, "step")
			if step > 400 {
				t.Fatal("never complete")
			}
			if c, ok := p.Next(); ok {
				if c.Open && pick == 0 && blocks < 60 {
					blocks += 7
					p.Grow(c, blocks)
					continue
				}
				out = append(out, c)
			}
			if len(out) == 0 {
				continue
			}
			i := rapid.IntRange(0, len(out)-1).Draw(t, "which")
			c := out[i]
			out = slices.Delete(out, i, i+1)
			switch {
			case pick == 1 && step < 200:
				p.Again(c, true)
			case pick == 2 && step < 200:
				loads := p.Loads()
				p, out = chunk.NewPlan([]chunk.Heap{heapOf(blocks)}, loads, 4*chunk.BlockBytes), nil
			default:
				if _, ok := p.Finish(c); !ok {
					t.Fatal("a chunk does not count")
				}
				for b := c.Range.From; b < c.Range.To; b++ {
					seen[b]++
				}
				if c.Open {
					open++
				}
			}
		}
		for b := range p.Loads()[0].Blocks {
			if seen[b] != 1 {
				t.Fatalf("block %d was finished %d times", b, seen[b])
			}
		}
		if open != 1 {
			t.Fatalf("the open end was finished %d times", open)
		}
	})
}
