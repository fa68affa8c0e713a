package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"segue/pkg/fault"
)

// Registry is a Confluent-compatible schema registry that remembers: every schema it gave an id to stands in a file, one per line, and
// is on the disk before the id is given out. At a start they are registered again in the same order, so they get the same ids.
type Registry struct {
	URL     string
	schemas *srfake.Registry
	server  *http.Server
	done    chan struct{}

	mu    sync.Mutex
	file  *os.File
	known map[string]bool // subject and version of what stands in the file
}

// registered is one line of the file.
type registered struct {
	Subject string    `json:"subject"`
	Version int       `json:"version"`
	ID      int       `json:"id"`
	Schema  sr.Schema `json:"schema"`
}

// StartRegistry starts a registry that keeps its schemas in dir, on a free port.
func StartRegistry(ctx context.Context, dir string) (*Registry, error) {
	return startRegistry(ctx, dir, 0)
}

func startRegistry(_ context.Context, dir string, port int) (*Registry, error) {
	r := &Registry{schemas: srfake.NewRegistry(), known: map[string]bool{}, done: make(chan struct{})}
	if err := r.load(filepath.Join(dir, "schemas.jsonl")); err != nil {
		return nil, err
	}
	l, err := listen(port)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded registry: %w", err), r.file.Close())
	}
	r.URL = "http://" + l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", r.schemas.Handler())
	mux.HandleFunc("POST /subjects/{subject}/versions", r.register)
	mux.HandleFunc("DELETE /", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusMethodNotAllowed, "the embedded registry keeps every schema")
	})
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(l) // ends when Close closes it
	}()
	return r, nil
}

// Close stops the registry.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.done
	return errors.Join(err, r.file.Close())
}

// load registers what the file holds and leaves it open for more.
func (r *Registry) load(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the embedded registry's schemas: %w", err)
	}
	end, err := r.replay(bufio.NewReader(f))
	if err == nil {
		err = f.Truncate(end) // a half-written last line was never answered for
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("read the embedded registry's schemas in %s: %w", path, err), f.Close())
	}
	r.file = f
	return nil
}

func (r *Registry) replay(in *bufio.Reader) (end int64, err error) {
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		var x registered
		if err := json.Unmarshal(line, &x); err != nil {
			return end, fault.Fatal(fmt.Errorf("byte %d: %w", end, err), "restore the file from a copy: records in the topics name the schemas by these ids")
		}
		id, version, err := r.schemas.RegisterSchema(x.Subject, x.Schema)
		if err != nil {
			return end, fmt.Errorf("register %s again: %w", x.Subject, err)
		}
		if id != x.ID || version != x.Version {
			return end, fmt.Errorf("%s version %d had id %d and got version %d, id %d", x.Subject, x.Version, x.ID, version, id)
		}
		r.known[slot(x.Subject, version)] = true
		end += int64(len(line))
	}
}

func slot(subject string, version int) string { return fmt.Sprintf("%s\x00%d", subject, version) }

// register answers POST /subjects/{subject}/versions.
func (r *Registry) register(w http.ResponseWriter, req *http.Request) {
	var s sr.Schema
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 16<<20)).Decode(&s); err != nil {
		refuse(w, http.StatusBadRequest, "the body is no schema: "+err.Error())
		return
	}
	id, err := r.keep(req.PathValue("subject"), s)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	answer(w, http.StatusOK, map[string]int{"id": id})
}

func (r *Registry) keep(subject string, s sr.Schema) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, version, err := r.schemas.RegisterSchema(subject, s)
	if err != nil || r.known[slot(subject, version)] {
		return id, err
	}
	line, err := json.Marshal(registered{Subject: subject, Version: version, ID: id, Schema: s})
	if err != nil {
		return 0, fmt.Errorf("encode schema of %s: %w", subject, err)
	}
	line = append(bytes.TrimSpace(line), '\n')
	if _, err := r.file.Write(line); err != nil {
		return 0, fmt.Errorf("keep schema of %s: %w", subject, err)
	}
	if err := r.file.Sync(); err != nil {
		return 0, fmt.Errorf("keep schema of %s: %w", subject, err)
	}
	r.known[slot(subject, version)] = true
	return id, nil
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]any{"error_code": status, "message": why})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller went away
}
