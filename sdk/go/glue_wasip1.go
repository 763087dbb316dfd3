package nestor

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/nestor-platform/orchestrator/sdk/go/internal/abi"
	_ "github.com/nestor-platform/orchestrator/sdk/go/internal/bindings"
	lifecycle "github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_lifecycle"
	types "github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_types"
	"github.com/nestor-platform/orchestrator/sdk/go/internal/exports"
)

// softMemoryLimit is where the collector starts to work when an engine set no
// limit of its own: half of the 96 MiB that the host grants by default. The
// other half is for the program's own data, which the limit does not count, and
// for what is allocated until a collection ends.
const softMemoryLimit = 48 << 20

// prepare is called once, when the component is built, and ends with the
// state that every call starts from.
//
// A call starts from a fresh copy and is short: collecting in it would cost
// time and give nothing back, so the collector stays off below the limit.
//
//go:wasmexport nestor_prepare
func prepare() {
	if registered == nil {
		panic("nestor: no engine; call nestor.Register from an init function of package main")
	}
	rehearse()
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(softMemoryLimit)
	}
	abi.Release()
	// What starting up left behind is room for the calls, and does not count
	// against the limit above. An engine that turned the collector off in an init
	// function prefers it untouched: room in between costs copies of more pages
	// than fresh room does.
	if debug.SetGCPercent(-1) >= 0 {
		debug.FreeOSMemory()
		// The runtime measures again, and sees nothing that it should still give
		// back: it would do so in the middle of an allocation, and look at the
		// clock, which no guest may while the host hands values over.
		runtime.GC()
	} else {
		fillBlocks()
	}
}

func init() {
	host = wasmHost{}
	exports.DescribeFunc = describe
	exports.CheckFunc = func() exports.Result[abi.Unit] {
		return answer(func() (abi.Unit, error) { return abi.Unit{}, registered.Check() }, same)
	}
	exports.ValidateFunc = resource(func(c Context, r Request) ([]string, error) { return registered.Validate(c, r) }, same)
	exports.PlanFunc = resource(func(c Context, r Request) (ProposedChanges, error) { return registered.Plan(c, r) }, lowerChanges)
	exports.DriftFunc = resource(func(c Context, r Request) (ProposedChanges, error) { return registered.Drift(c, r) }, lowerChanges)
	exports.ApplyFunc = resource(func(c Context, r Request) (Outcome, error) { return checkOutcome(registered.Apply(c, r)) }, lowerOutcome)
	exports.ObserveFunc = resource(func(c Context, r Request) (Outcome, error) { return checkOutcome(registered.Observe(c, r)) }, lowerOutcome)
	exports.DestroyFunc = resource(func(c Context, r Request) (Outcome, error) { return checkOutcome(registered.Destroy(c, r)) }, lowerOutcome)
	exports.RenderFunc = resource(func(c Context, r Request) (Rendered, error) { return registered.Render(c, r) }, lowerRendered)
}

func same[T any](t T) T { return t }

func answer[T, W any](f func() (T, error), lower func(T) W) exports.Result[W] {
	t, err := call(f)
	if err != nil {
		return abi.Err[W](lowerError(classify(err)))
	}
	return abi.Ok[W, types.Error](lower(t))
}

func resource[T, W any](f func(Context, Request) (T, error), lower func(T) W) exports.Call[W] {
	return func(c types.Context, r types.Request) exports.Result[W] {
		touchHot()
		return answer(func() (T, error) { return f(liftContext(c), liftRequest(r)) }, lower)
	}
}

// describe has no error to answer with: a panic in it is written to stderr,
// which the host shows, and traps.
func describe() lifecycle.Description {
	d, err := call(func() (Description, error) { return registered.Describe(), nil })
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		panic(err)
	}
	return lifecycle.Description{
		Name:             d.Name,
		Version:          d.Version,
		Summary:          d.Summary,
		DefinitionSchema: documentOr(d.DefinitionSchema, "{}"),
		Features:         lifecycle.Features(d.Features),
	}
}

func liftContext(c types.Context) Context {
	return Context{
		OperationID: c.OperationId,
		Purpose:     Purpose(c.Purpose),
		Deployment:  c.Deployment,
		Revision:    c.Revision,
		Environment: c.Environment,
		Composer:    c.Composer,
		Attempt:     c.Attempt,
		Traceparent: optional(c.Traceparent),
	}
}

func liftRequest(r types.Request) Request {
	request := Request{
		Name:            r.Name,
		CatalogRef:      r.CatalogRef,
		Definition:      JSON(r.Definition),
		Config:          JSON(r.Config),
		DeclaredOutputs: JSON(r.DeclaredOutputs),
		Settings:        JSON(r.Settings),
	}
	if r.Prior.IsSome() {
		p := r.Prior.Some()
		request.Prior = &Prior{Config: JSON(p.Config), State: JSON(p.State)}
		for _, o := range p.Outputs {
			request.Prior.Outputs = append(request.Prior.Outputs, Output{o.Name, JSON(o.Value), o.Sensitive})
		}
	}
	return request
}

func lowerOutputs(outputs []Output) []types.Output {
	lowered := make([]types.Output, len(outputs))
	for i, o := range outputs {
		lowered[i] = types.Output{Name: o.Name, Value: document(o.Value), Sensitive: o.Sensitive}
	}
	return lowered
}

func lowerChanges(p ProposedChanges) types.ProposedChanges {
	lowered := types.ProposedChanges{
		Action:  types.Action(p.Action),
		Summary: p.Summary,
		Changes: make([]types.Change, len(p.Changes)),
		Outputs: make([]types.PlannedOutput, len(p.Outputs)),
	}
	for i, c := range p.Changes {
		lowered.Changes[i] = types.Change{
			Path: c.Path, Before: optionalDocument(c.Before), After: optionalDocument(c.After), Sensitive: c.Sensitive,
		}
	}
	for i, o := range p.Outputs {
		lowered.Outputs[i] = types.PlannedOutput{
			Name: o.Name, Known: optionalDocument(o.Known), JsonType: o.JSONType, Sensitive: o.Sensitive,
		}
	}
	return lowered
}

func lowerOutcome(o Outcome) types.Outcome {
	switch o := o.(type) {
	case Settled:
		return types.MakeOutcomeReady(types.Settled{Outputs: lowerOutputs(o.Outputs), State: document(o.State)})
	case Pending:
		pending := types.Pending{PollAfterMs: o.PollAfterMs, Message: o.Message, State: document(o.State)}
		if o.Percent != nil {
			pending.Percent = abi.Some(min(*o.Percent, 100))
		}
		return types.MakeOutcomePending(pending)
	}
	panic("nestor: an outcome that is neither settled nor pending")
}

func lowerRendered(r Rendered) types.Rendered {
	lowered := types.Rendered{
		Manifests: make([]types.Manifest, len(r.Manifests)),
		Outputs:   lowerOutputs(r.Outputs),
		State:     document(r.State),
	}
	for i, m := range r.Manifests {
		lowered.Manifests[i] = types.Manifest(m)
	}
	if r.Notes != "" {
		lowered.Notes = abi.Some(r.Notes)
	}
	return lowered
}

// lowerError takes what classify answers.
func lowerError(err error) types.Error {
	switch e := err.(type) {
	case Invalid:
		violations := make([]types.Violation, len(e))
		for i, v := range e {
			violations[i] = types.Violation(v)
		}
		return types.MakeErrorInvalid(violations)
	case Denied:
		return types.MakeErrorDenied(string(e))
	case Conflict:
		return types.MakeErrorConflict(string(e))
	case Missing:
		return types.MakeErrorMissing(string(e))
	case Transient:
		lowered := types.Transient{Message: e.Message}
		if e.RetryAfter > 0 {
			ms := min(e.RetryAfter/time.Millisecond, math.MaxUint32)
			lowered.RetryAfterMs = abi.Some(uint32(ms))
		}
		return types.MakeErrorTransient(lowered)
	case Unsupported:
		return types.MakeErrorUnsupported(string(e))
	}
	return types.MakeErrorFailed(err.Error())
}

func document(j JSON) string { return documentOr(j, "null") }

func documentOr(j JSON, absent string) string {
	if len(j) == 0 {
		return absent
	}
	return string(j)
}

func optionalDocument(j JSON) abi.Option[string] {
	if len(j) == 0 {
		return abi.None[string]()
	}
	return abi.Some(string(j))
}

func optional(o abi.Option[string]) string {
	if o.IsSome() {
		return o.Some()
	}
	return ""
}
