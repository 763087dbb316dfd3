// Package engine is the helm engine: Helm's rendering behind Nestor's contract.
package engine

import (
	"fmt"
	"io/fs"
	"strings"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/delivered"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/render"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/section"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/values"
)

// Version of the engine. engine.toml carries the same one.
const Version = "0.1.0"

// byCommit is what the engine answers to calls that reach a cluster.
const byCommit = "the helm engine delivers by commits to a Git repository: give the deployment `\"delivery\": \"gitops\"`"

// Engine renders charts. It has no state of its own.
type Engine struct{}

var _ nestor.Engine = Engine{}

// Describe says what the engine is.
func (Engine) Describe() nestor.Description {
	return nestor.Description{
		Name:             "helm",
		Version:          Version,
		Summary:          "Charts, rendered by Helm " + strings.TrimPrefix(render.HelmVersion, "v") + " itself, delivered by commits",
		DefinitionSchema: section.Schema,
		Features:         nestor.FeatureRender,
	}
}

// Check answers success: there is nothing outside that the engine talks to.
func (Engine) Check() error { return nil }

// Validate renders the chart and answers what Helm warns of. Values that do
// not exist yet are left out of the judgement.
func (Engine) Validate(ctx nestor.Context, r nestor.Request) ([]string, error) {
	defer logging()()
	j, err := prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	first, err := j.render(values.First)
	if err != nil {
		if len(j.inputs.Unknowns()) > 0 && isTemplateError(err) {
			return append(takeWarnings(), j.notYet(err)), nil
		}
		return nil, j.explain(err)
	}
	if _, err := j.outputs(first); err != nil && len(j.inputs.Unknowns()) == 0 {
		return nil, err
	}
	if first.deprecated {
		warn("the chart is deprecated")
	}
	return takeWarnings(), nil
}

// Render answers the manifests, as `helm template` would write them.
func (Engine) Render(ctx nestor.Context, r nestor.Request) (nestor.Rendered, error) {
	defer logging()()
	j, err := prepare(ctx, r)
	if err != nil {
		return nestor.Rendered{}, err
	}
	if unknowns := j.inputs.Unknowns(); len(unknowns) > 0 {
		var violations nestor.Invalid
		for _, u := range unknowns {
			violations = append(violations, nestor.Violation{Path: u.Pointer, Message: "the value is not known yet"})
		}
		return nestor.Rendered{}, violations
	}
	rendering, err := j.render(values.First)
	if err != nil {
		return nestor.Rendered{}, j.explain(err)
	}
	outputs, err := j.outputs(rendering)
	if err != nil {
		return nestor.Rendered{}, err
	}
	before, err := j.before()
	if err != nil {
		return nestor.Rendered{}, err
	}
	state, err := j.state(rendering, before)
	if err != nil {
		return nestor.Rendered{}, nestor.Failed(err.Error())
	}
	encoded, err := state.Encode()
	if err != nil {
		return nestor.Rendered{}, nestor.Failed(err.Error())
	}
	manifests, err := j.manifests(rendering)
	if err != nil {
		return nestor.Rendered{}, nestor.Invalidf("", "%v", err)
	}
	return nestor.Rendered{
		Manifests: manifests,
		Outputs:   outputs,
		Notes:     strings.TrimSpace(rendering.Notes),
		State:     encoded,
	}, nil
}

// manifests lays the documents out as the section wants.
func (j *job) manifests(r rendering) ([]nestor.Manifest, error) {
	if j.section.SingleFile {
		return []nestor.Manifest{{Path: "manifests.yaml", Content: r.Stream()}}, nil
	}
	files, err := r.Files()
	if err != nil {
		return nil, err
	}
	manifests := make([]nestor.Manifest, len(files))
	for i, f := range files {
		// Sources are under the chart's name, which Chart.yaml may change; the
		// files of a resource shall not move when it does.
		path := strings.TrimPrefix(f.Path, r.chartName+"/")
		if !fs.ValidPath(path) {
			return nil, fmt.Errorf("the chart has a template with the path %q", f.Path)
		}
		manifests[i] = nestor.Manifest{Path: path, Content: f.Content}
	}
	return manifests, nil
}

// before is what was delivered last, or nil.
func (j *job) before() (*delivered.State, error) {
	if j.request.Prior == nil {
		return nil, nil
	}
	state, err := delivered.Decode(j.request.Prior.State)
	if err != nil {
		return nil, nestor.Failed(err.Error())
	}
	return state, nil
}

func (j *job) state(r rendering, before *delivered.State) (*delivered.State, error) {
	return delivered.New(j.release, j.namespace, r.chartName, r.chartVersion, r.Documents, before)
}

// Apply answers that delivery has to be by commits.
func (Engine) Apply(nestor.Context, nestor.Request) (nestor.Outcome, error) {
	return nil, nestor.Unsupported(byCommit)
}

// Observe answers that nothing took effect: no call of this engine reaches a
// cluster.
func (Engine) Observe(nestor.Context, nestor.Request) (nestor.Outcome, error) {
	return nil, nestor.Missing("no operation of the helm engine reaches a cluster; " + byCommit)
}

// Drift answers that it cannot tell.
func (Engine) Drift(nestor.Context, nestor.Request) (nestor.ProposedChanges, error) {
	return nestor.ProposedChanges{}, nestor.Unsupported("the helm engine sees no cluster; the GitOps controller that applies the commits reports drift")
}

// Destroy of what was never delivered is a success. What was delivered is
// removed by a commit, which is not this engine's to make.
func (Engine) Destroy(_ nestor.Context, r nestor.Request) (nestor.Outcome, error) {
	if r.Prior == nil {
		return nestor.Settled{}, nil
	}
	return nil, nestor.Unsupported(byCommit + "; its manifests are removed by a commit too")
}
