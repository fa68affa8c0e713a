// Package fault sorts errors by what to do about them: try again, set one change aside, or stop. It is core. Callers ask
// for the behaviour (ClassOf), never for a driver's error type; the package that wraps a driver decides the class
// where the error arises.
package fault

import "errors"

// Class says what to do about an error.
type Class uint8

// The classes. An error without one is fatal: what nobody thought of stops the lane instead of being retried for ever.
const (
	ClassFatal     Class = iota // stop: going on could lose or reorder changes
	ClassTransient              // the same call may succeed later: wait and retry
	ClassPoison                 // this change cannot be applied, the others can
)

func (c Class) String() string {
	switch c {
	case ClassTransient:
		return "transient"
	case ClassPoison:
		return "poison"
	case ClassFatal:
	}
	return "fatal"
}

// Error is an error with its class and, where there is one, what the user does next.
type Error struct {
	Err   error
	Hint  string // what to do next: a command, a statement, a line of the configuration
	Class Class
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Transient marks err as worth a retry; nil stays nil.
func Transient(err error) error { return with(err, ClassTransient, "") }

// Poison marks err as the fault of one change; nil stays nil.
func Poison(err error) error { return with(err, ClassPoison, "") }

// Fatal marks err as a reason to stop, with what the user does next; nil stays nil.
func Fatal(err error, hint string) error { return with(err, ClassFatal, hint) }

func with(err error, class Class, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Class: class, Hint: hint}
}

// ClassOf returns the class of the outermost Error in err's chain, ClassFatal where there is none.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ClassFatal
}

// HintOf returns the first hint in err's chain.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
