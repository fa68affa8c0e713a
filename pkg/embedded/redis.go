package embedded

import (
	"fmt"
	"net"
	"strconv"

	"github.com/alicebob/miniredis/v2"
)

// Redis is an in-memory Redis.
type Redis struct {
	URL    string
	server *miniredis.Miniredis
}

// StartRedis starts a Redis on a free port.
func StartRedis() (*Redis, error) { return startRedis(0) }

func startRedis(port int) (*Redis, error) {
	m := miniredis.NewMiniRedis()
	err := m.StartAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil && port != 0 {
		m = miniredis.NewMiniRedis()
		err = m.StartAddr("127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	return &Redis{URL: "redis://" + m.Addr() + "/0", server: m}, nil
}

// Close stops it; its data is gone.
func (r *Redis) Close() { r.server.Close() }
