package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"segue/pkg/fault"
)

// Addresses is how other processes find the services of a running one.
type Addresses struct {
	PID      int      `json:"pid"`
	Brokers  []string `json:"brokers"`
	Registry string   `json:"registry"`
	Redis    string   `json:"redis"`
}

const addressFile = "addresses.json"

// Find returns where the services of the directory listen, and an error that says how to start them where none run.
func Find(dir string) (Addresses, error) {
	a, err := readAddresses(dir)
	hint := "start it with: segue run all (with the same --data-dir), or set SEGUE_KAFKA_BROKERS and SEGUE_REGISTRY_URL"
	if errors.Is(err, fs.ErrNotExist) {
		return Addresses{}, fault.Fatal(fmt.Errorf("no brokers are set, and nothing has run in %s", dir), hint)
	}
	if err != nil {
		return Addresses{}, err
	}
	busy, err := held(filepath.Join(dir, "lock"))
	if err != nil {
		return Addresses{}, err
	}
	if !busy {
		return Addresses{}, fault.Fatal(fmt.Errorf("no brokers are set, and no process runs with the data directory %s", dir), hint)
	}
	return a, nil
}

func readAddresses(dir string) (a Addresses, err error) {
	path := filepath.Join(dir, addressFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return a, fmt.Errorf("read the embedded services' addresses: %w", err)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fault.Fatal(fmt.Errorf("read %s: %w", path, err), "delete that file: only addresses stand in it")
	}
	return a, nil
}

// ports are those of the last run: the services keep their addresses where nobody else took them meanwhile.
type ports struct{ Kafka, Registry, Redis int }

func readPorts(dir string) (ports, error) {
	a, err := readAddresses(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ports{}, nil
	}
	if err != nil {
		return ports{}, err
	}
	p := ports{Registry: portOfURL(a.Registry), Redis: portOfURL(a.Redis)}
	if len(a.Brokers) == 1 {
		p.Kafka = portOf(a.Brokers[0])
	}
	return p, nil
}

func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

func portOfURL(s string) int {
	u, err := url.Parse(s)
	if err != nil {
		return 0
	}
	return portOf(u.Host)
}

func writePorts(dir string, a Addresses) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the addresses: %w", err)
	}
	return replace(filepath.Join(dir, addressFile), append(b, '\n'))
}

// replace writes a file in one step: a crash leaves the old one or the new one.
func replace(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// listen takes the port again, or any where another process has it now.
func listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // a local port opens at once
	if err != nil && port != 0 {
		return net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as above
	}
	return l, err
}
