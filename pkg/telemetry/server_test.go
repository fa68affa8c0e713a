package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/service"
	"segue/pkg/telemetry"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPages(t *testing.T) {
	states := []service.State{{Name: "reader", Phase: service.Ready}, {Name: "applier", Phase: service.Waiting, Waiting: "connect: refused", Attempt: 3}}
	build := telemetry.ReadBuild("v1.2.3")
	s := &telemetry.Server{Build: build, Metrics: telemetry.NewRegistry(build), States: func() []service.State { return states }}
	if err := s.Open(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	base := "http://" + s.Address()

	if code, body := get(t, base+"/livez"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("livez: %d %s", code, body)
	}
	code, body := get(t, base+"/readyz")
	var r telemetry.Report
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusServiceUnavailable || r.Ready || r.Components[1].Waiting != "connect: refused" || r.Components[1].Attempt != 3 {
		t.Errorf("readyz: %d %s (%v)", code, body, err)
	}
	states[1] = service.State{Name: "applier", Phase: service.Ready}
	if code, body = get(t, base+"/readyz"); code != http.StatusOK || !strings.Contains(body, `"ready": true`) {
		t.Errorf("readyz when ready: %d %s", code, body)
	}
	if _, body = get(t, base+"/metrics"); !strings.Contains(body, `segue_build_info{`) || !strings.Contains(body, `version="v1.2.3"`) {
		t.Errorf("metrics: %s", body)
	}
	other := &telemetry.Server{}
	if err := other.Open(t.Context(), s.Address()); err == nil || !strings.Contains(fault.HintOf(err), "SEGUE_LISTEN") {
		t.Errorf("a taken address: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLoggerFormats(t *testing.T) {
	var b bytes.Buffer
	telemetry.NewLogger("json", slog.LevelWarn, &b).Info("hidden")
	telemetry.NewLogger("json", slog.LevelWarn, &b).Warn("shown", "table", "public.users")
	telemetry.NewLogger("text", slog.LevelDebug, &b).Debug("shown too")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !json.Valid([]byte(lines[0])) || !strings.Contains(lines[1], `msg="shown too"`) {
		t.Fatalf("got %q", b.String())
	}
}
