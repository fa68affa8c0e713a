package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says how a real broker runs.
type Config struct {
	Dir     string        // holds data, settings and log; kept after Stop and Kill
	Heap    string        // Java's -Xmx; "" means 512m
	Timeout time.Duration // how long a start may take; 0 means a minute and a half
	// Advertised is the address that the broker tells its clients, where it is not its own: a proxy's.
	Advertised string
}

// Server is Apache Kafka in a process of its own: one node, KRaft, plain text on 127.0.0.1.
type Server struct {
	cfg  Config
	addr string
	java string
	jars string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Start formats the folder where it is new, starts a broker there and waits until it answers. The ports are chosen once per Server.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Heap == "" {
		cfg.Heap = "512m"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 90 * time.Second
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("start Kafka: java is not on the PATH: install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)")
	}
	jars, err := Jars(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return nil, fmt.Errorf("start Kafka: %w", err)
	}
	s := &Server{cfg: cfg, java: java, jars: jars, addr: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	if err := writeSettings(cfg.Dir, orDefault(cfg.Advertised, s.addr), ports[0], ports[1]); err != nil {
		return nil, fmt.Errorf("start Kafka: %w", err)
	}
	if err := s.format(ctx); err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// Brokers is the address that clients take.
func (s *Server) Brokers() []string { return []string{s.addr} }

// PID is the process of the running broker, 0 where there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Start runs the broker again, on the same folder and ports, after Stop or Kill.
func (s *Server) Start(ctx context.Context) error {
	if s.PID() != 0 {
		return nil
	}
	log, err := os.OpenFile(s.path("kafka.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	cmd := s.command(context.WithoutCancel(ctx), "-Xmx"+s.cfg.Heap, "kafka.Kafka", s.path("server.properties"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		s.mu.Lock()
		s.cmd = nil
		s.mu.Unlock()
		close(done)
	}()
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	if err := s.ready(ctx, done); err != nil {
		_ = s.Kill()
		return fmt.Errorf("start Kafka: %w\n%s", err, s.tail())
	}
	return nil
}

// Stop ends the broker in its own way and waits for it.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.end(ctx, syscall.SIGTERM); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

// Kill ends the broker at once, as a crash would, and waits until the process is gone.
func (s *Server) Kill() error { return s.end(context.Background(), syscall.SIGKILL) }

func (s *Server) end(ctx context.Context, sig syscall.Signal) error {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end Kafka: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end Kafka: %w", ctx.Err())
	}
}

// ready asks for metadata until the broker answers, its process ends or the time is up.
func (s *Server) ready(ctx context.Context, done <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.RequestTimeoutOverhead(2*time.Second))
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	defer client.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return errors.New("the process ended")
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s: %w", s.addr, ctx.Err())
		case <-tick.C:
			if client.Ping(ctx) == nil {
				return nil
			}
		}
	}
}

func (s *Server) format(ctx context.Context) error {
	if _, err := os.Stat(s.path("data", "meta.properties")); err == nil {
		return nil
	}
	cmd := s.command(ctx, "-Xmx128m", "kafka.tools.StorageTool", "format",
		"--cluster-id", "c2VndWUtc2VndWUtc2Vndw", "--config", s.path("server.properties"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) command(ctx context.Context, heap string, args ...string) *exec.Cmd {
	all := append([]string{heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-cp", filepath.Join(s.jars, "*"),
		"-Dlog4j2.configurationFile=" + s.path("log4j2.properties")}, args...)
	return exec.CommandContext(ctx, s.java, all...)
}

func (s *Server) path(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, parts...)...)
}

// tail is the end of the broker's log, for error texts.
func (s *Server) tail() string {
	text, err := os.ReadFile(s.path("kafka.log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// freePorts asks the system for ports that nobody listens on.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	var lc net.ListenConfig
	for range n {
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // only at the end, so that the ports differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
