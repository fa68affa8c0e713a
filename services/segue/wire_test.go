package main

import (
	"os"
	"strings"
	"testing"

	"segue/pkg/embedded"
)

// A migration keeps the form of the wire that it began with: a start in the other one is refused with the way back, touches nothing, and
// after it the migration goes on as if nothing had been (P1).
func TestPipelineWireIsFixed(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, seed := range []uint64{200_000, 200_003, 200_004, 200_005} { // both forms, fused and staged
		s := newStory(t, servers.Addresses(), seed)
		t.Run(s.stages+" "+s.wire, func(t *testing.T) {
			s.t = t
			s.steps(20)
			s.start()
			s.await("something is applied", "SELECT EXISTS (SELECT FROM segue.progress WHERE NOT epoch = 0)")
			s.stop()
			other := map[string]string{"avro": "json", "json": "avro"}[s.wire]
			s.rewrite("wire: "+s.wire, "wire: "+other)
			s.env["SEGUE_REGISTRY_URL"] = servers.Addresses().Registry
			s.start()
			if code := <-s.ended; code != exitError {
				t.Errorf("with kafka.wire: %s it ended with exit code %d, want %d", other, code, exitError)
			}
			s.cancel()
			s.cancel = nil
			for _, want := range []string{"written with kafka.wire: " + s.wire + ", but the migration's file says " + other, "hint: a migration keeps the form that it began with: set kafka.wire: " + s.wire + " again"} {
				if log := s.log.String(); !strings.Contains(log, want) {
					t.Errorf("the log does not say %q:\n%s", want, log[max(0, len(log)-3000):])
				}
			}
			s.rewrite("wire: "+other, "wire: "+s.wire)
			s.start()
			s.steps(20)
			s.settle()
			s.compare()
			s.stop()
			s.finish()
		})
	}
}

// rewrite changes the migration's file.
func (s *story) rewrite(old, replacement string) {
	s.t.Helper()
	text, err := os.ReadFile(s.env["SEGUE_CONFIG"])
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.env["SEGUE_CONFIG"], []byte(strings.Replace(string(text), old, replacement, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
