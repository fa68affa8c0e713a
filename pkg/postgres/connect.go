package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/fault"
)

const urlHint = "write postgres://user:password@host:port/database, special characters in the password percent-encoded"

const (
	connectTimeout = 10 * time.Second // where the URL names none
	keepAlive      = 15 * time.Second
	// userTimeout is how long sent bytes may stay unacknowledged before the kernel gives the connection up: without it a peer
	// that vanished is noticed after a quarter of an hour.
	userTimeout = 30 * time.Second
)

// Connect opens a connection; app is its application_name. Errors never show the password.
func Connect(ctx context.Context, rawURL, app string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(rawURL)
	if err != nil {
		return nil, parseError(rawURL, err)
	}
	if err := prepare(&cfg.Config, app); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, connectError(&cfg.Config, err)
	}
	return conn, nil
}

// ConnectReplication opens a connection that speaks the replication protocol for the URL's database. Its session has the
// pinned settings from the start: the sender's output functions follow them.
func ConnectReplication(ctx context.Context, rawURL, app string) (*pgconn.PgConn, error) {
	return ConnectReplicationOver(ctx, rawURL, app, func(c net.Conn) net.Conn { return c })
}

// ConnectReplicationOver is ConnectReplication with a layer between the protocol and the network (behind TLS, where there is any).
func ConnectReplicationOver(ctx context.Context, rawURL, app string, wrap func(net.Conn) net.Conn) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(rawURL)
	if err != nil {
		return nil, parseError(rawURL, err)
	}
	if err := prepare(cfg, app); err != nil {
		return nil, err
	}
	for name, value := range pinned() {
		cfg.RuntimeParams[name] = value
	}
	cfg.RuntimeParams["replication"] = "database"
	cfg.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, c net.Conn) (net.Conn, error) { return wrap(c), nil }
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, connectError(cfg, err)
	}
	return conn, nil
}

// NewPool makes a pool of at most maxConns connections. It connects when first used.
func NewPool(ctx context.Context, rawURL, app string, maxConns int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		return nil, parseError(rawURL, err)
	}
	if err := prepare(&cfg.ConnConfig.Config, app); err != nil {
		return nil, err
	}
	cfg.MaxConns = maxConns
	cfg.MinConns = 0
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, connectError(&cfg.ConnConfig.Config, err)
	}
	return pool, nil
}

// prepare sets what every connection has. A URL whose password holds a bare @ or / is taken apart wrongly, into a host or a
// database that show parts of the password: it is refused before anything can name them.
func prepare(cfg *pgconn.Config, app string) error {
	if strings.ContainsAny(cfg.Database+cfg.Host+cfg.User, "@") {
		return fault.Fatal(errors.New("read connection string: there is an @ in its user, host or database"), urlHint)
	}
	cfg.RuntimeParams["application_name"] = app
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3},
		Control:         control,
	}
	cfg.DialFunc = dialer.DialContext
	primaryOf(cfg)
	cfg.AfterConnect = ownSession
	return nil
}

// primaryOf makes a list of hosts mean the one among them that is no standby, unless the URL asks for something narrower (target_session_attrs): what
// segue reads and writes it reads and writes on a primary.
func primaryOf(cfg *pgconn.Config) {
	if cfg.ValidateConnect != nil {
		return
	}
	for _, f := range cfg.Fallbacks { // of one host too, with and without TLS
		if f.Host != cfg.Host || f.Port != cfg.Port {
			cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
		}
	}
}

// connectError says where to and as whom. The driver's text holds the rest, without the password.
func connectError(cfg *pgconn.Config, err error) error {
	place := fmt.Sprintf("connect to database %s at %s as %s", cfg.Database, net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), cfg.User)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return refusable(fmt.Errorf("%s: %w", place, Safe(err)))
	}
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) {
		err = errors.Unwrap(ce)
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return refusable(fmt.Errorf("%s: %w", place, &connectFault{text: hide(text, cfg.Password), class: Safe(err)}))
}

// refusal marks an error of a connection that somebody did not let come about.
type refusal struct{ err error }

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

func refusable(err error) error {
	if fault.ClassOf(err) == fault.ClassTransient || errors.Is(err, context.Canceled) {
		return err
	}
	return &refusal{err}
}

// Refused says that a connection did not come about for a reason that does not pass by itself: the role, its password, the database, a right, a
// certificate. It is fatal: at the first connection it is a mistake in the URL. A caller that was let in by the same URL before may wait: somebody
// is changing the server.
func Refused(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// connectFault keeps the class and the chain of a failed connection under a text that was cleaned.
type connectFault struct {
	text  string
	class error
}

func (e *connectFault) Error() string { return e.text }
func (e *connectFault) Unwrap() error { return e.class }

// parseError tells what is wrong with a connection string only where the password in it can be known, and hidden.
func parseError(rawURL string, err error) error {
	reason := "it cannot be read"
	if u, perr := url.Parse(rawURL); perr == nil && u.Host != "" {
		var pe *pgconn.ParseConfigError
		if errors.As(err, &pe) {
			reason = strings.ReplaceAll(pe.Error(), pe.ConnString, "…")
		}
		if _, rest, ok := strings.Cut(reason, "`: "); ok {
			reason = rest
		}
		password, _ := u.User.Password()
		for _, secret := range []string{password, u.Query().Get("password"), u.Query().Get("sslpassword")} {
			reason = hide(hide(reason, url.QueryEscape(secret)), secret)
		}
	}
	return fault.Fatal(fmt.Errorf("read connection string: %s", reason), urlHint)
}

func hide(text, secret string) string {
	if secret == "" {
		return text
	}
	return strings.ReplaceAll(text, secret, "***")
}
