package nestor

import (
	"errors"
	"fmt"
)

// call runs f and answers what it answers, a panic as a [Failed]. The sandbox
// would report a panic as a trap, without its text.
func call[T any](f func() (T, error)) (answer T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Failed(fmt.Sprintf("the engine panicked: %v", p))
		}
	}()
	return f()
}

// checkOutcome catches the answer that is neither an outcome nor an error.
func checkOutcome(o Outcome, err error) (Outcome, error) {
	if err == nil && o == nil {
		return nil, Failed("the engine answered neither an outcome nor an error")
	}
	return o, err
}

// classify answers the error of this package's types that err is or wraps,
// with the text of the whole chain; [Failed] when there is none. Invalid keeps
// its violations and loses the text around it.
func classify(err error) error {
	text := err.Error()
	switch {
	case is[Invalid](err):
		return as[Invalid](err)
	case is[Denied](err):
		return Denied(text)
	case is[Conflict](err):
		return Conflict(text)
	case is[Missing](err):
		return Missing(text)
	case is[Transient](err):
		return Transient{text, as[Transient](err).RetryAfter}
	case is[Unsupported](err):
		return Unsupported(text)
	}
	return Failed(text)
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func as[E error](err error) E {
	var e E
	errors.As(err, &e)
	return e
}
