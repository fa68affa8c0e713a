//go:build !unix

package embedded

import "errors"

// lock needs a lock that the system lets go of when a process dies; only Unix's is written.
type lock struct{}

var errNoLock = errors.New("the embedded services run on Unix only: set SEGUE_KAFKA_BROKERS and SEGUE_REGISTRY_URL")

func acquire(string) (*lock, error) { return nil, errNoLock }
func (*lock) release() error        { return nil }
func held(string) (bool, error)     { return false, errNoLock }
