// Package pgsource follows a source's log: it owns the publication and the slot, decodes pgoutput, and yields typed
// events in commit order. It keeps the source's half of P1 (nothing the server sent is left out or guessed: what the
// log did not carry is absent, what it cannot place is an error), P3 (the slot is told only what Confirm was given) and
// P8 (what is received and not yet taken is bounded in bytes; the server waits meanwhile).
package pgsource
