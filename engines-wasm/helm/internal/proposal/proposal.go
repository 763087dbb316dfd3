// Package proposal says what delivering a rendering would change, object by
// object.
package proposal

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/delivered"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
)

// Change is one difference. A nil side is not there; a side that is not known
// yet is {"$unknown": type}.
type Change struct {
	Path          string
	Before, After any
	HasBefore     bool
	HasAfter      bool
	// Sensitive says that it is a value of a Secret; the sides hold no value.
	Sensitive bool
	// Possible says that it depends on what is not known yet.
	Possible bool
}

// Proposal is what would change.
type Proposal struct {
	Added, Changed, Removed int
	// Possible counts the objects of these three that depend on what is not
	// known yet.
	Possible int
	Changes  []Change
	// Omitted counts changes past the limit.
	Omitted int
}

// Empty says that nothing would change.
func (p *Proposal) Empty() bool { return p.Added+p.Changed+p.Removed == 0 }

// object is one side's Kubernetes object.
type object struct {
	key    string
	body   any
	secret bool
	// possible says that whether it exists at all is not known yet.
	possible bool
}

// Between compares what was delivered (nil when nothing was) with a rendering
// (after). Where a second rendering (other; nil for none) differs from the
// first, the value is not known yet.
func Between(before *delivered.State, after, other []delivered.Object) (*Proposal, error) {
	p := &Proposal{}
	if before == nil {
		before = &delivered.State{}
	}
	if before.Digests != nil {
		p.byDigest(before.Digests, after)
		return p, nil
	}

	// Most objects of a chart do not change from one revision to the next, and
	// reading YAML is what takes time: only what differs as text is read.
	varying := other != nil
	if !varying {
		other = after
	}
	beforeLeft := without(before.Objects, commonTexts(before.Objects, after, other))
	common := commonTexts(before.Objects, after, other)
	afterLeft, otherLeft := without(after, common), without(other, common)

	old, err := parse(beforeLeft)
	if err != nil {
		return nil, fmt.Errorf("the recorded state: %w", err)
	}
	proposed, err := parse(afterLeft)
	if err != nil {
		return nil, err
	}
	if varying {
		second, err := parse(otherLeft)
		if err != nil {
			return nil, err
		}
		proposed = overlay(proposed, second)
	}
	p.compare(old, proposed)
	return p, nil
}

// commonTexts counts the texts that all three have.
func commonTexts(a, b, c []delivered.Object) map[string]int {
	counts := func(objects []delivered.Object) map[string]int {
		m := map[string]int{}
		for _, o := range objects {
			m[o.Text]++
		}
		return m
	}
	ca, cb, cc := counts(a), counts(b), counts(c)
	common := map[string]int{}
	for text, n := range ca {
		if n = min(n, cb[text], cc[text]); n > 0 {
			common[text] = n
		}
	}
	return common
}

func without(objects []delivered.Object, common map[string]int) []delivered.Object {
	left := make([]delivered.Object, 0, len(objects))
	used := map[string]int{}
	for _, o := range objects {
		if used[o.Text] < common[o.Text] {
			used[o.Text]++
			continue
		}
		left = append(left, o)
	}
	return left
}

func parse(objects []delivered.Object) ([]object, error) {
	var parsed []object
	seen := map[string]int{}
	for _, o := range objects {
		var body any
		if err := yaml.Unmarshal([]byte(o.Text), &body); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Source, err)
		}
		if body == nil {
			// Comments alone.
			continue
		}
		key := keyOf(body, o.Source)
		// Nothing forbids a chart to render an object twice.
		if seen[key]++; seen[key] > 1 {
			key = fmt.Sprintf("%s (%d)", key, seen[key])
		}
		parsed = append(parsed, object{key: key, body: body, secret: o.Secret})
	}
	return parsed, nil
}

// keyOf is "apps/v1/Deployment/namespace/name", without the parts that the
// object does not have.
func keyOf(body any, source string) string {
	m, _ := body.(map[string]any)
	metadata, _ := m["metadata"].(map[string]any)
	var parts []string
	for _, part := range []any{m["apiVersion"], m["kind"], metadata["namespace"], metadata["name"]} {
		if text, ok := part.(string); ok && text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return source
	}
	if generate, ok := metadata["generateName"].(string); ok && metadata["name"] == nil {
		parts = append(parts, generate)
	}
	return strings.Join(parts, "/")
}

func (p *Proposal) compare(before, after []object) {
	old := map[string]object{}
	for _, o := range before {
		old[o.key] = o
	}
	for _, o := range after {
		was, ok := old[o.key]
		delete(old, o.key)
		if !ok {
			p.Added++
			p.count(o.possible)
			p.add(Change{Path: o.key, After: shown(o), HasAfter: true, Possible: o.possible, Sensitive: false})
			continue
		}
		changes := p.differences(was, o)
		if len(changes) == 0 {
			continue
		}
		p.Changed++
		p.count(slices.ContainsFunc(changes, func(c Change) bool { return c.Possible }))
		for _, c := range changes {
			p.add(c)
		}
	}
	for _, o := range before {
		if _, ok := old[o.key]; ok {
			p.Removed++
			p.add(Change{Path: o.key, Before: shown(o), HasBefore: true})
		}
	}
}

func (p *Proposal) count(possible bool) {
	if possible {
		p.Possible++
	}
}

func (p *Proposal) add(c Change) {
	if len(p.Changes) >= limits.Changes {
		p.Omitted++
		return
	}
	p.Changes = append(p.Changes, c)
}

func (p *Proposal) differences(before, after object) []Change {
	var changes []Change
	diff(before.body, after.body, nil, func(path []string, b, a any, hasB, hasA bool) {
		c := Change{
			Path: after.key + "#" + pointer(path), Before: b, After: a, HasBefore: hasB, HasAfter: hasA,
			Possible: isUnknown(a) || after.possible,
		}
		if after.secret && len(path) > 0 && (path[0] == "data" || path[0] == "stringData") {
			c.Sensitive = true
			c.Before, c.After = hide(b, hasB), hide(a, hasA)
		}
		changes = append(changes, c)
	})
	if len(changes) > limits.ChangesPerObject {
		possible := slices.ContainsFunc(changes, func(c Change) bool { return c.Possible })
		return []Change{{
			Path: after.key, Before: shown(before), After: shown(after), HasBefore: true, HasAfter: true, Possible: possible,
		}}
	}
	if after.possible && len(changes) == 0 {
		return []Change{{Path: after.key, Before: shown(before), HasBefore: true, After: Unknown("object"), HasAfter: true, Possible: true}}
	}
	return changes
}

// byDigest is for states that remember digests alone.
func (p *Proposal) byDigest(before []string, after []delivered.Object) {
	left := map[string]int{}
	for _, d := range before {
		left[d]++
	}
	for _, o := range after {
		if d := delivered.Digest(o.Text); left[d] > 0 {
			left[d]--
			continue
		}
		p.Changed++
		p.add(Change{Path: o.Source, After: "changed; the manifests delivered before are too many to be remembered", HasAfter: true})
	}
	for _, n := range left {
		p.Removed += n
	}
	// What changed left its old digest behind.
	p.Removed = max(0, p.Removed-p.Changed)
}
