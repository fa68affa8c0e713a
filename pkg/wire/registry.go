package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"segue/pkg/fault"
)

// Registry gives schemas their ids, and ids their schemas.
type Registry interface {
	// ID registers a schema under a subject and returns its id; one that is already there keeps its own.
	ID(ctx context.Context, subject, schema string) (int, error)
	// Schema returns the schema with that id.
	Schema(ctx context.Context, id int) (string, error)
}

// RegistryConfig says where the schema registry is.
type RegistryConfig struct {
	// URL of a Confluent-compatible registry. A user and a password in it are taken for basic authentication.
	URL            string
	User, Password string
	TLS            *tls.Config
	// Timeout bounds each request; 0: ten seconds.
	Timeout time.Duration
}

// Confluent is a Registry that speaks the Confluent schema registry's protocol. It asks for each schema once. It is safe for
// concurrent use.
type Confluent struct {
	client *sr.Client
	where  string // the URL without credentials

	mu   sync.Mutex
	ids  map[subjectSchema]int
	text map[int]string
}

type subjectSchema struct{ subject, schema string }

// NewRegistry makes a client; it does not connect yet.
func NewRegistry(cfg RegistryConfig) (*Confluent, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The URL may hold a password: it is not shown.
		return nil, fault.Fatal(errors.New("schema registry: the URL is not one"), "set SEGUE_REGISTRY_URL to http://HOST:PORT or https://HOST:PORT")
	}
	if u.User != nil && cfg.User == "" {
		cfg.User = u.User.Username()
		cfg.Password, _ = u.User.Password()
	}
	u.User = nil
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	opts := []sr.ClientOpt{
		sr.URLs(u.String()),
		sr.UserAgent("segue"),
		sr.HTTPClient(&http.Client{Timeout: cfg.Timeout}),
	}
	if cfg.TLS != nil {
		opts = append(opts, sr.DialTLSConfig(cfg.TLS))
	}
	if cfg.User != "" {
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("schema registry %s: %w", u, err)
	}
	return &Confluent{
		client: client, where: u.String(),
		ids: make(map[subjectSchema]int), text: make(map[int]string),
	}, nil
}

// ID implements Registry.
func (r *Confluent) ID(ctx context.Context, subject, schema string) (int, error) {
	r.mu.Lock()
	id, ok := r.ids[subjectSchema{subject, schema}]
	r.mu.Unlock()
	if ok {
		return id, nil
	}
	id, err := r.client.RegisterSchema(ctx, subject, sr.Schema{Schema: schema, Type: sr.TypeAvro}, -1, -1)
	if err != nil {
		return 0, r.explain(err, "register subject "+subject, subject)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[subjectSchema{subject, schema}] = id
	return id, nil
}

// Schema implements Registry.
func (r *Confluent) Schema(ctx context.Context, id int) (string, error) {
	r.mu.Lock()
	text, ok := r.text[id]
	r.mu.Unlock()
	if ok {
		return text, nil
	}
	s, err := r.client.SchemaByID(ctx, id)
	if err != nil {
		return "", r.explain(err, fmt.Sprintf("schema %d", id), "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text[id] = s.Schema
	return s.Schema, nil
}

// explain says which class an error of the registry is, and what to do about it.
func (r *Confluent) explain(err error, step, subject string) error {
	wrapped := fmt.Errorf("schema registry %s: %s: %w", r.where, step, err)
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return hinted(fault.Transient(wrapped), "is the registry up? SEGUE_REGISTRY_URL says where it is")
	}
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fault.Fatal(wrapped, "the registry refuses this user: put user and password into SEGUE_REGISTRY_URL or its own variables")
	case code == http.StatusTooManyRequests || code >= 500:
		return hinted(fault.Transient(wrapped), "the registry answers, but not well: see its log")
	case code == http.StatusConflict:
		return fault.Fatal(wrapped, fmt.Sprintf(
			"the table's new shape does not go with the subject's old schemas: allow it with curl -X PUT -H 'Content-Type: application/json' "+
				`-d '{"compatibility":"NONE"}' %s/config/%s`, r.where, url.PathEscape(subject)))
	case code == http.StatusNotFound && subject == "":
		return fault.Fatal(wrapped, "the records were written with another registry, or it lost its schemas: point SEGUE_REGISTRY_URL to the one that wrote them")
	}
	return fault.Fatal(wrapped, "the registry refused the request: see its log")
}

func hinted(err error, hint string) error {
	var f *fault.Error
	if errors.As(err, &f) {
		f.Hint = hint
	}
	return err
}
