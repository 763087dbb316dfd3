package nestor

// Engine plans, applies, observes and destroys one kind of resource. Embed
// [Unimplemented] and write the methods that the engine has.
//
// A call may be repeated with the same OperationID after a crash, on another
// replica or by a retry: make a repeated call a no-op or a continuation. Two
// calls for the same resource of the same deployment never overlap.
//
// An error of this package's types ([Invalid], [Denied], [Conflict],
// [Missing], [Transient], [Failed], [Unsupported]), wrapped or not, decides
// what the host does next; any other error counts as [Failed], and so does a
// panic.
type Engine interface {
	Describe() Description
	// Check answers the health of what the engine talks to, within seconds.
	Check() error
	// Validate answers warnings. Changes nothing.
	Validate(Context, Request) ([]string, error)
	// Plan changes nothing outside /work.
	Plan(Context, Request) (ProposedChanges, error)
	Apply(Context, Request) (Outcome, error)
	// Observe settles a pending operation, and one whose outcome is unknown
	// after a crash.
	Observe(Context, Request) (Outcome, error)
	// Drift answers how the real thing differs from what was last applied.
	Drift(Context, Request) (ProposedChanges, error)
	// Destroy of what is gone already is a success.
	Destroy(Context, Request) (Outcome, error)
	// Render answers manifests for GitOps delivery.
	Render(Context, Request) (Rendered, error)
}

// Unimplemented answers every operation with [Unsupported], a check with
// success and a validation with no warnings. It has no Describe: an engine
// must say what it is.
type Unimplemented struct{}

// Check answers success.
func (Unimplemented) Check() error { return nil }

// Validate answers no warnings.
func (Unimplemented) Validate(Context, Request) ([]string, error) { return nil, nil }

// Plan answers [Unsupported].
func (Unimplemented) Plan(Context, Request) (ProposedChanges, error) {
	return ProposedChanges{}, unsupported("plan")
}

// Apply answers [Unsupported].
func (Unimplemented) Apply(Context, Request) (Outcome, error) { return nil, unsupported("apply") }

// Observe answers [Unsupported].
func (Unimplemented) Observe(Context, Request) (Outcome, error) { return nil, unsupported("observe") }

// Drift answers [Unsupported].
func (Unimplemented) Drift(Context, Request) (ProposedChanges, error) {
	return ProposedChanges{}, unsupported("drift")
}

// Destroy answers [Unsupported].
func (Unimplemented) Destroy(Context, Request) (Outcome, error) { return nil, unsupported("destroy") }

// Render answers [Unsupported].
func (Unimplemented) Render(Context, Request) (Rendered, error) {
	return Rendered{}, unsupported("render")
}

func unsupported(call string) error {
	return Unsupported("this engine does not implement " + call)
}

var registered Engine

// Register makes e the engine of this component. Call it once, from an init
// function; a second call panics.
func Register(e Engine) {
	if e == nil {
		panic("nestor: Register called with a nil engine")
	}
	if registered != nil {
		panic("nestor: Register called twice; a component holds one engine")
	}
	registered = e
}

var warmHooks []func()

// Warm adds a function that runs when the component is built, before the memory
// of the engine is frozen into it. Do there what every call would do anew: parse
// embedded files, fill caches, run the hot path once. It must not read files,
// clocks or random numbers, call the host, or leave a goroutine behind. A panic
// in it fails the build.
//
// The build runs it a second time, in a copy of the engine that is thrown away,
// to see which pages of memory a call writes to: so it should do what calls do.
//
// The garbage collector works only when a call uses more than 48 MiB. An engine
// whose engine.toml asks for more than the default memory raises that in a hook,
// with [runtime/debug.SetMemoryLimit], to about half of what it asks for.
func Warm(hook func()) { warmHooks = append(warmHooks, hook) }
