package nettest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"segue/pkg/kafkatest"
	"segue/pkg/nettest"
	"segue/pkg/pgtest"
)

const patience = 20 * time.Second

// echo answers each connection with what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T, upstream string, framer func() nettest.Framer) *nettest.Proxy {
	t.Helper()
	p, err := nettest.Open(upstream, framer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// roundTrip sends a word and wants it back.
func roundTrip(c net.Conn) error {
	if _, err := c.Write([]byte("word")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

func TestProxyForwardsAndEndsInOrder(t *testing.T) {
	p := open(t, echo(t), nil)
	c := dial(t, p.Addr())
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("behind the client's end: %v, want EOF", err)
	}
}

func TestResetBreaksBothEndsAndRefuseKeepsNewOnesOut(t *testing.T) {
	p := open(t, echo(t), nil)
	c := dial(t, p.Addr())
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	if n := p.Reset(); n != 1 {
		t.Errorf("%d connections were reset, want 1", n)
	}
	if err := roundTrip(c); err == nil {
		t.Error("a reset connection still answers")
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // it may be reset before it is there
		if err := roundTrip(c); err == nil {
			t.Error("a refused connection answers")
		}
		_ = c.Close()
	}
	p.Refuse(false)
	if err := roundTrip(dial(t, p.Addr())); err != nil {
		t.Errorf("behind the refusal: %v", err)
	}
}

func TestStallKeepsBytesBackAndLosesNone(t *testing.T) {
	p := open(t, echo(t), nil)
	c := dial(t, p.Addr())
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	if _, err := c.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 5)); err == nil {
		t.Fatalf("%d bytes came through a stall", n)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p.Resume()
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "later" {
		t.Errorf("behind the stall: %q, %v", got, err)
	}
}

// TestKafkaPoints shows that a produce request is refused before the broker has it, and that its answer can be lost behind it: the client writes
// the record again in both cases, and the broker's idempotence keeps one.
func TestKafkaPoints(t *testing.T) {
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := nettest.On(front, nettest.Kafka)
	back := nettest.Behind(p)
	broker := kafkatest.Fake(t, kfake.SeedTopics(1, "m.reader.frontier", "m.raw.t"), kfake.ListenFn(back.Listen), kfake.MaxVersions(kversion.V3_9_0()))
	t.Cleanup(func() { _ = p.Close() })
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, c := range []struct {
		topic, point string
		action       nettest.Action
	}{
		{"m.raw.t", nettest.ProduceLane, nettest.Before},
		{"m.raw.t", nettest.ProduceLane, nettest.After},
		{"m.reader.frontier", nettest.ProduceFrontier, nettest.Before},
		{"m.reader.frontier", nettest.ProduceFrontier, nettest.After},
	} {
		point := p.At(c.point, c.action, 0)
		r, err := client.ProduceSync(ctx, &kgo.Record{Topic: c.topic, Value: []byte{byte(i)}}).First()
		if err != nil {
			t.Fatalf("%s: %v", c.point, err)
		}
		select {
		case <-point.Fired(): // told behind the reset: the client may be done before
		case <-ctx.Done():
			t.Fatalf("%s %d: the point was not met", c.point, c.action)
		}
		if want := int64(i % 2); r.Offset != want {
			t.Errorf("%s %d: offset %d, want %d: written once", c.point, c.action, r.Offset, want)
		}
	}
}

// TestPostgresPoints finds the messages of a replication connection among the others.
func TestPostgresPoints(t *testing.T) {
	database := pgtest.Database(t)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, u.Host, nettest.Postgres)
	u.Host = p.Addr()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var one int
	if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Fatalf("through the proxy: %d, %v", one, err)
	}
	if n := p.Seen(nettest.Status) + p.Seen(nettest.Stream); n != 0 {
		t.Errorf("%d messages of replication on an ordinary connection", n)
	}
	if _, err := conn.PgConn().CopyFrom(ctx, strings.NewReader("row\n"), "COPY pg_temp.t FROM STDIN"); err == nil {
		t.Error("a table that is not there was filled")
	}
	for _, name := range []string{"startup", "parse", "bind", "execute", "sync", "query"} {
		if p.Seen(name) == 0 {
			t.Errorf("no %s was seen", name)
		}
	}
	all := p.Seen(nettest.Any)
	point := p.At(nettest.Any, nettest.Before, 1)
	if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err == nil { // bind, and then it breaks
		t.Error("the connection was not broken")
	}
	select {
	case <-point.Fired():
	case <-ctx.Done():
		t.Error("the second message was not met")
	}
	if n := p.Seen(nettest.Any) - all; n != 2 {
		t.Errorf("%d messages were met, want 2", n)
	}
	f := nettest.Postgres()
	if size, name := f.Next([]byte{0, 0, 0, 8, 0, 3, 0, 0}); size != 8 || name != "startup" {
		t.Fatalf("startup message: size %d, name %q", size, name)
	}
	if size, name := f.Next([]byte("d\x00\x00\x00\x06r\n")); size != 7 || name != "copy data" {
		t.Errorf("a row of COPY: size %d, name %q", size, name)
	}
	f = nettest.Postgres()
	startup := []byte("\x00\x00\x00\x1f\x00\x03\x00\x00\x00replication\x00database\x00\x00")
	startup[3] = byte(len(startup))
	if size, name := f.Next(startup); size != len(startup) || name != nettest.Replication {
		t.Fatalf("startup message of a stream: size %d, name %q", size, name)
	}
	status := append([]byte{'d', 0, 0, 0, 4 + 34, 'r'}, make([]byte, 33)...)
	if size, name := f.Next(append(status, 'd')); size != len(status) || name != nettest.Status {
		t.Errorf("status update: %d bytes, name %q", size, name)
	}
	if size, name := f.Next(status[:20]); size != 0 || name != "" {
		t.Errorf("half a status update: %d bytes, name %q", size, name)
	}
}
