// Package exports stands between the generated export functions and package
// nestor, which cannot be imported from below: nestor sets the functions.
package exports

import (
	"github.com/nestor-platform/orchestrator/sdk/go/internal/abi"
	lifecycle "github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_lifecycle"
	types "github.com/nestor-platform/orchestrator/sdk/go/internal/bindings/nestor_engine_types"
)

// Result of an export.
type Result[T any] = abi.Result[T, types.Error]

// Call is an export that works on a resource.
type Call[T any] func(types.Context, types.Request) Result[T]

// The exports of the interface lifecycle, set by package nestor.
var (
	DescribeFunc func() lifecycle.Description
	CheckFunc    func() Result[abi.Unit]
	ValidateFunc Call[[]string]
	PlanFunc     Call[types.ProposedChanges]
	ApplyFunc    Call[types.Outcome]
	ObserveFunc  Call[types.Outcome]
	DriftFunc    Call[types.ProposedChanges]
	DestroyFunc  Call[types.Outcome]
	RenderFunc   Call[types.Rendered]
)

// What the generated code calls.

func Describe() lifecycle.Description { return DescribeFunc() }
func Check() Result[abi.Unit]         { return CheckFunc() }

func Validate(c types.Context, r types.Request) Result[[]string] { return ValidateFunc(c, r) }

func Plan(c types.Context, r types.Request) Result[types.ProposedChanges] { return PlanFunc(c, r) }

func Apply(c types.Context, r types.Request) Result[types.Outcome] { return ApplyFunc(c, r) }

func Observe(c types.Context, r types.Request) Result[types.Outcome] { return ObserveFunc(c, r) }

func Drift(c types.Context, r types.Request) Result[types.ProposedChanges] { return DriftFunc(c, r) }

func Destroy(c types.Context, r types.Request) Result[types.Outcome] { return DestroyFunc(c, r) }

func Render(c types.Context, r types.Request) Result[types.Rendered] { return RenderFunc(c, r) }
