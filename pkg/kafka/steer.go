package kafka

// steer keeps what waits in bounds: above the limit only the lanes that the oldest frontier needs are read on, and
// with too many frontiers waiting the frontier topic pauses. Below half the limit everything is read again.
func (r *Reader) steer() {
	held, queued := r.merger.Held(), r.merger.Queued()
	front := len(r.paused) - 1
	switch {
	case queued >= maxQueued && !r.paused[front]:
		r.pause(front, true)
	case queued < maxQueued/2 && r.paused[front]:
		r.pause(front, false)
	}
	switch {
	case held > r.cfg.MaxAheadBytes:
		for i := range front {
			if need := r.merger.Behind(i); need == r.paused[i] {
				r.pause(i, !need)
			}
		}
	case held <= r.cfg.MaxAheadBytes/2:
		for i := range front {
			if r.paused[i] {
				r.pause(i, false)
			}
		}
	default:
		for i := range front {
			if r.paused[i] && r.merger.Behind(i) {
				r.pause(i, false)
			}
		}
	}
}

func (r *Reader) pause(i int, on bool) {
	r.paused[i] = on
	topic, partition := r.cfg.FrontierTopic, int32(0)
	if i < len(r.cfg.Lanes) {
		topic, partition = r.cfg.LaneTopic(r.cfg.Lanes[i].Table), r.cfg.Lanes[i].Partition
	}
	which := map[string][]int32{topic: {partition}}
	if on {
		r.client.PauseFetchPartitions(which)
		return
	}
	r.client.ResumeFetchPartitions(which)
}
