// Package redisstore reaches Redis or Valkey. Nothing that counts is kept there (promise P5): what it holds can be
// rebuilt from the target and the lanes at any time. It is an adapter over go-redis.
package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"segue/pkg/fault"
)

// Ping asks the server at the URL whether it answers. The URL may hold a password and is not shown.
func Ping(ctx context.Context, url string) error {
	o, err := redis.ParseURL(url)
	if err != nil {
		return fault.Fatal(errors.New("redis: the URL is not one"), "set SEGUE_REDIS_URL to redis://HOST:PORT/0")
	}
	redis.SetLogger(silent{}) // the driver would write to stderr by itself what the caller gets as an error
	o.MaxRetries, o.DialerRetries = -1, 1
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }() // a connection that is not used again
	if err := c.Ping(ctx).Err(); err != nil {
		return fault.Transient(fmt.Errorf("redis %s: %w", o.Addr, err))
	}
	return nil
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
