package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"segue/pkg/fault"
	"segue/pkg/service"
)

// Report is what /readyz says.
type Report struct {
	Ready      bool            `json:"ready"`
	Version    string          `json:"version"`
	Now        time.Time       `json:"now"`
	Components []service.State `json:"components"`
}

// Server answers /livez (the process runs), /readyz (every component does its work or stands by, else what it waits for) and /metrics.
type Server struct {
	Build    Build
	Metrics  *prometheus.Registry
	States   func() []service.State
	listener net.Listener
}

// Open listens on the address.
func (s *Server) Open(ctx context.Context, address string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fault.Fatal(fmt.Errorf("listen for health and metrics on %s: %w", address, err), "set SEGUE_LISTEN (or --listen) to a free address, or to off")
	}
	s.listener = l
	return nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	h := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(done)
		<-ctx.Done()
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		_ = h.Shutdown(grace) // what still hangs after a second is cut off by the process's end
	}()
	if err := h.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{Registry: s.Metrics}))
	return mux
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	r := Report{Ready: true, Version: s.Build.Version, Now: time.Now().UTC(), Components: s.States()}
	for _, c := range r.Components {
		// A standby is ready: it does what it is there for, and a rolling restart waits for it.
		r.Ready = r.Ready && (c.Phase == service.Ready || c.Phase == service.Standby)
	}
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(r) // the caller went away
}
