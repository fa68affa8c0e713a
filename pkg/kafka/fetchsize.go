package kafka

// fetchSize learns how much to ask a broker for: Kafka counts packed bytes, memory holds unpacked ones, and only the answer shows how well
// a lane packs. One fetch is to bring about a quarter of what may be held.
type fetchSize struct {
	now, most int32
	target    int
}

const leastFetch = 64 << 10

func newFetchSize(ahead int) fetchSize {
	return fetchSize{
		now:    int32(min(max(ahead/32, leastFetch), 4<<20)),
		most:   int32(min(max(ahead/4, leastFetch), 16<<20)),
		target: max(ahead/4, 2*leastFetch),
	}
}

// learn takes the unpacked size of what a fetch brought and says whether to ask for another size from now on.
func (f *fetchSize) learn(got int) bool {
	was := f.now
	switch {
	case got > f.target:
		f.now = max(int32(int64(f.now)*int64(f.target)/int64(got)), leastFetch)
	case got < f.target/2 && got > int(f.now)/2: // it was full, not all there was
		f.now = min(2*f.now, f.most)
	}
	return f.now != was
}

func (f *fetchSize) partition() int32 { return min(f.now, 1<<20) }
