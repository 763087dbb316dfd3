// Package abi is the runtime under the generated bindings: the shapes that the
// canonical ABI has and Go has not, and the memory that the host writes into.
// The generated code imports it by the two names wit_types and wit_runtime.
package abi

// The tags of an [Option].
const (
	OptionNone uint8 = iota
	OptionSome
)

// Option is a value or its absence.
type Option[T any] struct {
	value T
	tag   uint8
}

// Some holds value.
func Some[T any](value T) Option[T] { return Option[T]{value, OptionSome} }

// None holds nothing.
func None[T any]() Option[T] { return Option[T]{} }

// Tag is OptionNone or OptionSome.
func (o Option[T]) Tag() uint8 { return o.tag }

// IsSome tells whether there is a value.
func (o Option[T]) IsSome() bool { return o.tag == OptionSome }

// Some answers the value and panics when there is none.
func (o Option[T]) Some() T {
	if o.tag != OptionSome {
		panic("abi: Some of an empty option")
	}
	return o.value
}

// The tags of a [Result].
const (
	ResultOk uint8 = iota
	ResultErr
)

// Unit is the type of a result without a value.
type Unit struct{}

// Result is a value or an error.
type Result[T, E any] struct {
	value T
	err   E
	tag   uint8
}

// Ok holds a value.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{value: value} }

// Err holds an error.
func Err[T, E any](err E) Result[T, E] { return Result[T, E]{err: err, tag: ResultErr} }

// Tag is ResultOk or ResultErr.
func (r Result[T, E]) Tag() uint8 { return r.tag }

// IsErr tells whether there is an error.
func (r Result[T, E]) IsErr() bool { return r.tag == ResultErr }

// Ok answers the value and panics when there is an error.
func (r Result[T, E]) Ok() T {
	if r.tag != ResultOk {
		panic("abi: Ok of a failed result")
	}
	return r.value
}

// Err answers the error and panics when there is none.
func (r Result[T, E]) Err() E {
	if r.tag != ResultErr {
		panic("abi: Err of a good result")
	}
	return r.err
}

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}
