package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/delivered"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/proposal"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/values"
)

// volatile finds functions whose result is another one each time. A chart that
// uses one is rendered twice, to tell what changes from what only varies.
var volatile = regexp.MustCompile(`\b(rand(AlphaNum|Alpha|Numeric|Ascii|Bytes|Int)|uuidv4|gen(PrivateKey|CA|SelfSignedCert|SignedCert)\w*|htpasswd|bcrypt|shuffle|encryptAES|now)\b`)

// Plan renders and compares with what was delivered last. Values of the config
// that do not exist yet are placeholders; what depends on them, however
// indirectly, is a possible change, and an output that does is unknown.
func (Engine) Plan(ctx nestor.Context, r nestor.Request) (nestor.ProposedChanges, error) {
	defer logging()()
	j, err := prepare(ctx, r)
	if err != nil {
		return nestor.ProposedChanges{}, err
	}
	before, err := j.before()
	if err != nil {
		return nestor.ProposedChanges{}, err
	}
	first, err := j.render(values.First)
	if err != nil {
		if len(j.inputs.Unknowns()) > 0 && isTemplateError(err) {
			return j.unplannable(before, err), nil
		}
		return nestor.ProposedChanges{}, j.explain(err)
	}
	state, err := j.state(first, before)
	if err != nil {
		return nestor.ProposedChanges{}, nestor.Failed(err.Error())
	}

	second, varies := first, false
	var other []delivered.Object
	if len(j.inputs.Unknowns()) > 0 || j.isVolatile() {
		if second, err = j.render(values.Second); err != nil {
			if len(j.inputs.Unknowns()) > 0 && isTemplateError(err) {
				return j.unplannable(before, err), nil
			}
			return nestor.ProposedChanges{}, j.explain(err)
		}
		varied, err := j.state(second, state)
		if err != nil {
			return nestor.ProposedChanges{}, nestor.Failed(err.Error())
		}
		other, varies = varied.Objects, true
	}
	p, err := proposal.Between(before, state.Objects, other)
	if err != nil {
		return nestor.ProposedChanges{}, nestor.Failed(err.Error())
	}
	outputs, err := j.plannedOutputs(first, second, varies)
	if err != nil {
		return nestor.ProposedChanges{}, err
	}
	return nestor.ProposedChanges{
		Action:  action(before, p),
		Changes: changes(p),
		Outputs: outputs,
		Summary: j.summary(first, before, p),
	}, nil
}

func (j *job) isVolatile() bool {
	if j.archive != nil {
		// Inside a compressed archive nothing can be searched for; assume it.
		return true
	}
	for _, f := range j.files {
		if (strings.HasPrefix(f.Path, "templates/") || strings.HasPrefix(f.Path, "charts/")) && (volatile.Match(f.Content) || strings.HasSuffix(f.Path, ".tgz")) {
			return true
		}
	}
	return false
}

func action(before *delivered.State, p *proposal.Proposal) nestor.Action {
	switch {
	case before == nil:
		return nestor.ActionCreate
	case p.Empty():
		return nestor.ActionNoop
	default:
		return nestor.ActionUpdate
	}
}

func changes(p *proposal.Proposal) []nestor.Change {
	changes := make([]nestor.Change, 0, len(p.Changes))
	for _, c := range p.Changes {
		changes = append(changes, nestor.Change{
			Path: c.Path, Before: side(c.Before, c.HasBefore), After: side(c.After, c.HasAfter), Sensitive: c.Sensitive,
		})
	}
	return changes
}

// side is one side of a change, cut when it is too long to be read.
func side(v any, has bool) nestor.JSON {
	if !has {
		return nil
	}
	document := nestor.Encode(v)
	if len(document) <= limits.ChangeBytes {
		return document
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		text = document
	}
	cut := bytes.ToValidUTF8(text[:limits.ChangeBytes-limits.ChangeBytes/4], nil)
	return nestor.Encode(fmt.Sprintf("%s… (cut; %d bytes)", cut, len(document)))
}

func (j *job) summary(r rendering, before *delivered.State, p *proposal.Proposal) string {
	var b strings.Builder
	switch {
	case before == nil:
		fmt.Fprintf(&b, "release %s of chart %s %s in namespace %s: %s", j.release, r.chartName, r.chartVersion, j.namespace, count(p.Added, "object")+" to add")
	case p.Empty():
		fmt.Fprintf(&b, "release %s in namespace %s: no changes", j.release, j.namespace)
	default:
		fmt.Fprintf(&b, "release %s in namespace %s", j.release, j.namespace)
		if before.ChartVersion != r.chartVersion || before.ChartName != r.chartName {
			fmt.Fprintf(&b, ", chart %s %s → %s %s", before.ChartName, before.ChartVersion, r.chartName, r.chartVersion)
		}
		fmt.Fprintf(&b, ": %s to add, %d to change, %d to remove", count(p.Added, "object"), p.Changed, p.Removed)
	}
	if p.Possible > 0 {
		if len(j.inputs.Unknowns()) > 0 {
			fmt.Fprintf(&b, "; %d of these %s on values that are known only after apply", p.Possible, verb(p.Possible, "depends", "depend"))
		} else {
			fmt.Fprintf(&b, "; %d of these %s values that every rendering makes anew (random ones, or the time)", p.Possible, verb(p.Possible, "has", "have"))
		}
	}
	if p.Omitted > 0 {
		fmt.Fprintf(&b, "; %s not listed", count(p.Omitted, "difference"))
	}
	return b.String()
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// plannedOutputs are known where both renderings agree.
func (j *job) plannedOutputs(first, second rendering, varies bool) ([]nestor.PlannedOutput, error) {
	known, err := j.outputs(first)
	if err != nil && !varies {
		return nil, err
	}
	other := known
	if varies {
		var otherErr error
		other, otherErr = j.outputs(second)
		if err != nil || otherErr != nil {
			// One of the two has no such object: what it is depends on what is
			// not known yet.
			if err != nil && otherErr != nil && len(j.inputs.Unknowns()) == 0 {
				return nil, err
			}
			return j.unknownOutputs(), nil
		}
	}
	outputs := j.unknownOutputs()
	for i := range outputs {
		if bytes.Equal(known[i].Value, other[i].Value) {
			outputs[i].Known = known[i].Value
		}
	}
	return outputs, nil
}

func (j *job) unknownOutputs() []nestor.PlannedOutput {
	outputs := make([]nestor.PlannedOutput, len(j.declared))
	for i, o := range j.declared {
		outputs[i] = nestor.PlannedOutput{Name: o.name, JSONType: o.jsonType, Sensitive: o.sensitive}
	}
	return outputs
}

// unplannable is a plan for a chart that refuses the placeholders.
func (j *job) unplannable(before *delivered.State, err error) nestor.ProposedChanges {
	a := nestor.ActionUpdate
	if before == nil {
		a = nestor.ActionCreate
	}
	return nestor.ProposedChanges{Action: a, Outputs: j.unknownOutputs(), Summary: fmt.Sprintf("release %s: %s", j.release, j.notYet(err))}
}
