package stacktest_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"segue/pkg/stacktest"
)

const (
	shopRows   = 60_000
	killRounds = 10 // each service dies once in each
	calm       = 90 * time.Second
)

// P1 to P4: whatever dies, at whatever moment, the target gets every change once and in order.
func TestRealKillEachServiceStaged(t *testing.T) { killEachService(t, stacktest.Staged) }

// The same with the stages in the applier's memory.
func TestRealKillEachServiceFused(t *testing.T) { killEachService(t, stacktest.Fused) }

func killEachService(t *testing.T, form stacktest.Form) {
	s := shop(t, form, shopRows)
	stop := traffic(t, s, shopRows, 200)
	s.Start(t)
	k := &killer{t: t, s: s, names: form.Services(), kills: map[string]int{}, loading: map[string]int{}}
	for range killRounds {
		k.round()
	}
	if n := stop(); n < 100 {
		t.Errorf("only %d transactions were committed meanwhile", n)
	}
	s.Applied(t, calm)
	rows := s.Compare(t, shopPairs())
	t.Logf("%d rows are equal; killed: %v, of these while the load was on: %v", rows, k.kills, k.loading)
	if len(k.loading) == 0 {
		t.Error("no service was killed during the load: it was too fast for this test")
	}
	prove(t, s)
}

// killer kills services, each at a moment of its own.
type killer struct {
	t              *testing.T
	s              *stacktest.Stack
	names          []string
	kills, loading map[string]int
}

// round kills each service once, in a random order, and then sees the pipeline go on.
func (k *killer) round() {
	k.t.Helper()
	conn := stacktest.Connect(k.t, k.s.Target)
	for n, i := range rand.Perm(len(k.names)) {
		name := k.names[i]
		before, err := k.s.Progress(k.t.Context(), conn, "0/0")
		if err != nil {
			k.t.Fatal(err)
		}
		if !before.Loaded && n%2 == 1 { // every other one dies in the middle of the load: once some more of it has arrived
			k.s.Passed(k.t, "0/0", calm, func(p stacktest.Progress) bool { return p.Loaded || p.Changes > before.Changes })
		}
		<-time.After(time.Duration(rand.IntN(250)) * time.Millisecond) // the moment is random, that is the point
		at, err := k.s.Progress(k.t.Context(), conn, "0/0")
		if err != nil {
			k.t.Fatal(err)
		}
		k.s.Kill(k.t, name)
		k.s.Start(k.t, name)
		k.kills[name]++
		if !at.Loaded {
			k.loading[name]++
		}
	}
	k.s.Passed(k.t, k.s.Marker(k.t), calm, func(p stacktest.Progress) bool { return p.Passed })
}

// prove runs the reconciler and wants it to pass.
func prove(t *testing.T, s *stacktest.Stack) {
	t.Helper()
	r := s.Command(t, 3*time.Minute, "reconcile", "--wait", "--timeout", "2m", "-o", "json")
	if r.Code != 0 {
		t.Fatalf("reconcile: %s", r)
	}
	var report struct {
		Verdict string
		Tables  []struct {
			Table    string
			Coverage float64 `json:"coverage_percent"`
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		t.Fatalf("reconcile: %v: %s", err, r)
	}
	covered := map[string]float64{}
	for _, table := range report.Tables {
		covered[table.Table] = table.Coverage
	}
	want := map[string]float64{"crm.customer": 100, "crm.address": 100, "sales.product": 100, "sales.order": 100, "sales.line": 100, "crm.note": 100}
	if report.Verdict != "pass" || !maps.Equal(covered, want) {
		t.Fatalf("reconcile: %s", r)
	}
}
