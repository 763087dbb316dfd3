package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/section"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/values"
)

// declaredOutput is an output that the definition declares, with how the
// section says that it comes about.
type declaredOutput struct {
	name      string
	jsonType  string
	sensitive bool
	from      section.Output
}

func declaredOutputs(declared nestor.JSON, s *section.Section) ([]declaredOutput, error) {
	d, err := nestor.Decode[map[string]struct {
		Type      string `json:"type"`
		Sensitive bool   `json:"sensitive"`
	}](declared, "the declared outputs")
	if err != nil {
		return nil, err
	}
	outputs := make([]declaredOutput, 0, len(d))
	var missing []string
	for name, o := range d {
		from, ok := s.Outputs[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		jsonType := o.Type
		if jsonType == "" {
			jsonType = "string"
		}
		outputs = append(outputs, declaredOutput{name, jsonType, o.Sensitive, from})
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("helm section, /outputs: the definition declares %s, and the section does not say how it comes about", strings.Join(missing, ", "))
	}
	sort.Slice(outputs, func(i, j int) bool { return outputs[i].name < outputs[j].name })
	return outputs, nil
}

// outputTemplates are rendered together with the chart, in the root chart's
// scope, so that they see what its templates see.
func (j *job) outputTemplates() map[string]string {
	templates := map[string]string{}
	for i, o := range j.declared {
		switch {
		case o.from.Value != nil:
			templates[templateName(i)] = *o.from.Value
		case o.from.Manifest != nil:
			templates[templateName(i)] = *o.from.Manifest
		}
	}
	return templates
}

func templateName(i int) string { return "output-" + strconv.Itoa(i) }

// outputOf answers which output's template a source is.
func (j *job) outputOf(source string) (string, bool) {
	for i, o := range j.declared {
		if strings.HasSuffix(source, "/.nestor/"+templateName(i)) {
			return o.name, true
		}
	}
	return "", false
}

// outputs evaluates what is declared. Errors are of the contract.
func (j *job) outputs(r rendering) ([]nestor.Output, error) {
	outputs := make([]nestor.Output, 0, len(j.declared))
	for i, o := range j.declared {
		value, err := o.evaluate(r.Extra[templateName(i)], r)
		if err != nil {
			return nil, nestor.Invalidf("", "helm section, /outputs/%s: %v", o.name, err)
		}
		outputs = append(outputs, nestor.Output{Name: o.name, Value: value, Sensitive: o.sensitive})
	}
	return outputs, nil
}

func (o declaredOutput) evaluate(text string, r rendering) (nestor.JSON, error) {
	if len(text) > limits.OutputTemplateBytes {
		return nil, fmt.Errorf("%d bytes are more than the limit of %d", len(text), limits.OutputTemplateBytes)
	}
	text = strings.TrimSpace(text)
	if o.from.Manifest != nil {
		value, err := fromManifest(text, o.from.Path, r)
		if err != nil {
			return nil, err
		}
		return o.typed(value)
	}
	if o.jsonType == "string" {
		return json.Marshal(text)
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return nil, fmt.Errorf("%q is not a value of type %s: %w", text, o.jsonType, err)
	}
	return o.typed(value)
}

// typed refuses a value of another type than the declared one; consumers were
// checked against that.
func (o declaredOutput) typed(value any) (nestor.JSON, error) {
	got := "null"
	switch v := value.(type) {
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case map[string]any:
		got = "object"
	case []any:
		got = "array"
	case float64:
		got = "number"
		if o.jsonType == "integer" && v == math.Trunc(v) {
			got = "integer"
		}
	}
	if got != o.jsonType {
		return nil, fmt.Errorf("the definition declares type %s, the value is of type %s", o.jsonType, got)
	}
	return json.Marshal(value)
}

// fromManifest reads from the object that name ("Kind/name") tells.
func fromManifest(name, pointer string, r rendering) (any, error) {
	kind, object, ok := strings.Cut(name, "/")
	if !ok {
		return nil, fmt.Errorf("manifest %q is not of the form Kind/name", name)
	}
	var others []string
	for _, d := range r.Documents {
		if d.Kind != kind {
			continue
		}
		if d.Name != object {
			others = append(others, d.Kind+"/"+d.Name)
			continue
		}
		var body any
		if err := yaml.Unmarshal([]byte(d.Content), &body); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Source, err)
		}
		value, found := values.Lookup(body, pointer)
		if !found {
			return nil, fmt.Errorf("%s (%s) has nothing at %s", name, d.Source, pointer)
		}
		return value, nil
	}
	if len(others) == 0 {
		return nil, fmt.Errorf("the chart renders no %s with these values", kind)
	}
	slices.Sort(others)
	return nil, fmt.Errorf("the chart renders no %s with these values, but %s", name, strings.Join(slices.Compact(others), ", "))
}
