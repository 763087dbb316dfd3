// Package nestor is the SDK for engines written in Go.
//
// An engine is a main package that implements [Engine] and registers itself:
//
//	package main
//
//	import nestor "github.com/nestor-platform/orchestrator/sdk/go"
//
//	type engine struct{ nestor.Unimplemented }
//
//	func (engine) Describe() nestor.Description { … }
//	func (engine) Apply(nestor.Context, nestor.Request) (nestor.Outcome, error) { … }
//
//	func init() { nestor.Register(engine{}) }
//
//	func main() {}
//
// `nestor-build component DIR -o engine.wasm` turns it into a component. The
// same code compiles natively, so its logic is tested with `go test`; the
// package nestortest stands in for the host there.
//
// # What the sandbox gives
//
// Every call gets a fresh copy of the engine, as it was when its component was
// built: init functions and [Warm] hooks ran at build time, once, and nothing
// in memory survives a call. So read no clock, file or random number in an
// init function; what it saw would be frozen.
//
// Environment and arguments are empty. The files are `/definition` (read-only)
// and `/work` (read-write), through package os; reading many small files is
// slow that way, [DefinitionFiles] fetches them in one call. Goroutines run,
// but on one thread, and none outlives a call.
package nestor
