package pgtest

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
)

// DatabaseWith is Database with options of CREATE DATABASE: ENCODING 'LATIN1' LOCALE 'C'.
func DatabaseWith(t testing.TB, options string) string {
	t.Helper()
	return Server(t).DatabaseWith(t, options)
}

// DatabaseWith is like the function, on this cluster.
func (c *Cluster) DatabaseWith(t testing.TB, options string) string {
	t.Helper()
	name := "segue_" + strings.ToLower(rand.Text()[:16])
	c.admin(t.Context(), t, `CREATE DATABASE `+name+` TEMPLATE template0 `+options)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		c.dropDatabase(ctx, t, name)
	})
	return withDatabase(t, c.URL, name)
}
