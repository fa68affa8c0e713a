package migration

import "testing"

func TestLoad(t *testing.T) {
	spec, err := parseText(stores + "load: {workers: 2, chunk: 1MB, bytes_per_second: 20 MB, pause_while: {standby_lag: 3GB, active_sessions: 7}}\n" + tables)
	if err != nil {
		t.Fatal(err)
	}
	want := Load{Workers: 2, Chunk: 1 << 20, BytesPerSecond: 20 << 20, ActiveSessions: 7, StandbyLag: 3 << 30}
	if spec.Load != want {
		t.Errorf("got %+v, want %+v", spec.Load, want)
	}
	if spec, err = parseText(stores + tables); err != nil || spec.Load != (Load{Workers: DefaultWorkers, Chunk: DefaultChunk}) {
		t.Errorf("without the key: %+v, %v", spec.Load, err)
	}
	for _, chunk := range []string{"63kB", "65MB", "1TB"} {
		if _, err := parseText(stores + "load: {chunk: " + chunk + "}\n" + tables); err == nil {
			t.Errorf("a chunk of %s is taken", chunk)
		}
	}
}
