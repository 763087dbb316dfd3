package nestor

import "encoding/json"

// JSON is a document in UTF-8 JSON text. Where the contract wants a document,
// a nil one is sent as `null`; where the document is optional, nil is absence.
type JSON = json.RawMessage

// Purpose is what the surrounding operation wants to reach.
type Purpose uint8

// The purposes, in the order of the contract.
const (
	PurposeInspect Purpose = iota
	PurposeApply
	PurposeDestroy
)

// Context says who asks, for what, in which attempt.
type Context struct {
	// OperationID is stable across retries, crashes and replicas.
	OperationID string
	// Purpose tells Observe whether it settles an apply or a destroy.
	Purpose     Purpose
	Deployment  string
	Revision    uint64
	Environment string
	Composer    string
	// Attempt counts from 1.
	Attempt uint32
	// Traceparent is the W3C trace context to hand on, or empty.
	Traceparent string
}

// Request is one resource of a deployment.
type Request struct {
	Name       string
	CatalogRef string
	// Definition is the definition's section for this engine, or `{}`.
	Definition JSON
	// Config of the resource. In Plan a value that does not exist yet is
	// {"$unknown": "<JSON type>"} (see [Unknown]); in every other call all
	// values are known.
	Config JSON
	// DeclaredOutputs is an object: output name to {"type", "sensitive"}.
	DeclaredOutputs JSON
	// Settings are the platform's settings for this engine, or `{}`.
	Settings JSON
	// Prior is what this engine last recorded for this resource, or nil.
	Prior *Prior
}

// Prior is what an engine recorded when it last settled a resource.
type Prior struct {
	Config  JSON
	Outputs []Output
	State   JSON
}

// Output is a value that other resources can refer to.
type Output struct {
	Name      string
	Value     JSON
	Sensitive bool
}

// Action is what a plan would do with the resource.
type Action uint8

// The actions, in the order of the contract.
const (
	ActionNoop Action = iota
	ActionCreate
	ActionUpdate
	ActionReplace
	ActionDelete
)

// Change is one difference. Path is a JSON pointer or the engine's own address
// of what changes; a nil Before or After means that it is not there.
type Change struct {
	Path      string
	Before    JSON
	After     JSON
	Sensitive bool
}

// PlannedOutput is an output that will exist after apply: Known, or nil with
// its JSON type.
type PlannedOutput struct {
	Name      string
	Known     JSON
	JSONType  string
	Sensitive bool
}

// ProposedChanges is the answer of Plan and Drift.
type ProposedChanges struct {
	Action  Action
	Changes []Change
	Outputs []PlannedOutput
	Summary string
}

// Outcome is [Settled] or [Pending].
type Outcome interface{ outcome() }

// Settled ends an operation well.
type Settled struct {
	Outputs []Output
	State   JSON
}

// Pending makes the host call Observe again after PollAfterMs, on any replica.
// A long wait is never spent inside the engine.
type Pending struct {
	PollAfterMs uint32
	// Percent is 0 to 100, or nil when the engine cannot tell.
	Percent *uint8
	Message string
	State   JSON
}

func (Settled) outcome() {}
func (Pending) outcome() {}

// Manifest is a file that GitOps delivery commits. Path is relative, with `/`,
// without `..`.
type Manifest struct {
	Path    string
	Content string
}

// Rendered is what GitOps delivery commits, and what the engine wants to
// remember. Empty Notes are none.
type Rendered struct {
	Manifests []Manifest
	Outputs   []Output
	Notes     string
	State     JSON
}

// Features is what an engine can do beyond the core, as a set of bits.
type Features uint8

// The features, in the order of the contract.
const (
	FeatureRender Features = 1 << iota
	FeatureDrift
	FeatureAdopt
	FeatureTraffic
)

// Description is what an engine says about itself.
type Description struct {
	Name    string
	Version string
	Summary string
	// DefinitionSchema is the JSON Schema of the definition's section for this
	// engine.
	DefinitionSchema JSON
	Features         Features
}
