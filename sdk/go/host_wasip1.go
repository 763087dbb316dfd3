package nestor

import (
	"encoding/json"
	"errors"

	"github.com/nestor-platform/orchestrator/sdk/go/internal/abi"
	"github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_definition"
	"github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_report"
	"github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_secrets"
	"github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_store"
	"github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_tools"
)

// wasmHost is the real host, over the imports of the contract.
type wasmHost struct{}

func (wasmHost) Log(level Level, message string, fields map[string]any) {
	text := "{}"
	if len(fields) > 0 {
		// A log line must not bring an operation down: what cannot be JSON is
		// said instead.
		if b, err := json.Marshal(fields); err == nil {
			text = string(b)
		} else {
			text = string(Encode(map[string]string{"fields_error": err.Error()}))
		}
	}
	nestor_engine_report.Log(nestor_engine_report.Level(level), message, text)
}

func (wasmHost) Progress(percent *uint8, message string) {
	p := abi.None[uint8]()
	if percent != nil {
		p = abi.Some(min(*percent, 100))
	}
	nestor_engine_report.Progress(p, message)
}

func (wasmHost) DefinitionFiles(under string) ([]File, error) {
	r := nestor_engine_definition.Files(under)
	if r.IsErr() {
		return nil, errors.New(r.Err())
	}
	files := make([]File, len(r.Ok()))
	for i, f := range r.Ok() {
		files[i] = File(f)
	}
	return files, nil
}

func (wasmHost) SecretReference(name string) (string, error) {
	r := nestor_engine_secrets.Reference(name)
	if r.IsErr() {
		return "", Denied(r.Err())
	}
	return r.Ok(), nil
}

func (wasmHost) StoreGet(key string) ([]byte, bool, error) {
	r := nestor_engine_store.Get(key)
	if r.IsErr() {
		return nil, false, errors.New(r.Err())
	}
	if value := r.Ok(); value.IsSome() {
		return value.Some(), true, nil
	}
	return nil, false, nil
}

func (wasmHost) StorePut(key string, value []byte) error {
	return storeError(nestor_engine_store.Put(key, value))
}

func (wasmHost) StoreDelete(key string) error {
	return storeError(nestor_engine_store.Delete(key))
}

func (wasmHost) StoreKeys(prefix string) ([]string, error) {
	r := nestor_engine_store.Keys(prefix)
	if r.IsErr() {
		return nil, errors.New(r.Err())
	}
	return r.Ok(), nil
}

func storeError(r abi.Result[abi.Unit, string]) error {
	if r.IsErr() {
		return errors.New(r.Err())
	}
	return nil
}

func (wasmHost) Spawn(i Invocation) (Child, error) {
	lowered := nestor_engine_tools.Invocation{
		Tool: i.Tool, Args: i.Args, Directory: i.Directory, TimeoutMs: i.TimeoutMs,
		Env: make([]abi.Tuple2[string, string], len(i.Env)),
	}
	for n, v := range i.Env {
		lowered.Env[n] = abi.Tuple2[string, string]{F0: v.Name, F1: v.Value}
	}
	if i.Stdin != nil {
		lowered.Stdin = abi.Some(i.Stdin)
	}
	r := nestor_engine_tools.Spawn(lowered)
	if r.IsErr() {
		return nil, Denied(r.Err())
	}
	return wasmChild{r.Ok()}, nil
}

type wasmChild struct{ child *nestor_engine_tools.Child }

func (c wasmChild) NextLine() (Line, bool) {
	line := c.child.NextLine()
	if !line.IsSome() {
		return Line{}, false
	}
	return Line(line.Some()), true
}

func (c wasmChild) Wait() (int, error) {
	r := c.child.Wait()
	if r.IsErr() {
		return 0, errors.New(r.Err())
	}
	return int(r.Ok().Code), nil
}

func (c wasmChild) Kill()  { c.child.Kill() }
func (c wasmChild) Close() { c.child.Drop() }
