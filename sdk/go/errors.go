package nestor

import (
	"fmt"
	"strings"
	"time"
)

// Violation says what is wrong with one place of the config. Path is a JSON
// pointer into it, empty for the whole.
type Violation struct {
	Path    string
	Message string
}

// Invalid means that the request is wrong. Never retried.
type Invalid []Violation

func (e Invalid) Error() string {
	parts := make([]string, len(e))
	for i, v := range e {
		parts[i] = strings.TrimPrefix(v.Path+": "+v.Message, ": ")
	}
	return strings.Join(parts, "; ")
}

// Invalidf is an [Invalid] with one violation.
func Invalidf(path, format string, args ...any) error {
	return Invalid{{Path: path, Message: fmt.Sprintf(format, args...)}}
}

// Denied means that a capability was not granted. Never retried.
type Denied string

func (e Denied) Error() string { return string(e) }

// Conflict means that somebody else changed it.
type Conflict string

func (e Conflict) Error() string { return string(e) }

// Missing means that the thing is not there. From Observe it says that the
// operation never took effect.
type Missing string

func (e Missing) Error() string { return string(e) }

// Transient is retried with backoff, not before RetryAfter when that is set.
type Transient struct {
	Message    string
	RetryAfter time.Duration
}

func (e Transient) Error() string { return e.Message }

// Failed means that the operation ran and failed. Not retried by itself.
type Failed string

func (e Failed) Error() string { return string(e) }

// Unsupported means that the engine cannot do this.
type Unsupported string

func (e Unsupported) Error() string { return string(e) }
