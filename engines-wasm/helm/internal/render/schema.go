package render

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
)

// Violation is one value that does not fit a values.schema.json.
type Violation struct {
	// Chart whose schema it is.
	Chart string
	// Path of the value, from the root chart's values.
	Path []string
	// Message of the schema.
	Message string
}

// Violations are why Helm refuses values.
type Violations struct {
	List []Violation
	text string
}

// Error is Helm's own text.
func (v *Violations) Error() string { return v.text }

// validate lets Helm decide whether the values fit, and asks the schema library
// that Helm uses for the places when they do not: Helm's error is text.
func validate(c *chart.Chart, values common.Values, excused func(Violation) bool) error {
	refusal := util.ValidateAgainstSchema(c, values)
	if refusal == nil {
		return nil
	}
	v := &Violations{text: "values do not fit the chart's values.schema.json: " + strings.TrimSpace(refusal.Error())}
	unexplained := false
	collect(c, values, nil, &unexplained, &v.List)
	if excused != nil {
		kept := v.List[:0]
		for _, violation := range v.List {
			if !excused(violation) {
				kept = append(kept, violation)
			}
		}
		if len(kept) == 0 && !unexplained {
			return nil
		}
		v.List = kept
	}
	if len(v.List) > limits.Violations {
		v.List = v.List[:limits.Violations]
	}
	return v
}

// collect walks the charts as Helm's validation does.
func collect(c *chart.Chart, values map[string]any, under []string, unexplained *bool, out *[]Violation) {
	if c.Schema != nil {
		places, err := violationsOf(values, c.Schema)
		if err != nil {
			*unexplained = true
			*out = append(*out, Violation{Chart: c.Name(), Path: under, Message: err.Error()})
		}
		for _, p := range places {
			*out = append(*out, Violation{Chart: c.Name(), Path: append(append([]string{}, under...), p.Path...), Message: p.Message})
		}
	}
	for _, sub := range c.Dependencies() {
		raw, exists := values[sub.Name()]
		if !exists || raw == nil {
			continue
		}
		path := append(append([]string{}, under...), sub.Name())
		subValues, ok := table(raw)
		if !ok {
			*out = append(*out, Violation{Chart: sub.Name(), Path: path, Message: fmt.Sprintf("got %T, want an object", raw)})
			continue
		}
		collect(sub, subValues, path, unexplained, out)
	}
}

func table(raw any) (map[string]any, bool) {
	switch t := raw.(type) {
	case map[string]any:
		return t, true
	case common.Values:
		return t, true
	default:
		return nil, false
	}
}

// violationsOf answers the leaves of the library's tree of causes. An error is
// a schema that cannot be compiled.
func violationsOf(values map[string]any, schemaJSON []byte) (places []Violation, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("unable to validate schema: %v", r)
		}
	}()
	const url = "file:///values.schema.json"
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		return nil, fmt.Errorf("values.schema.json: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, schema); err != nil {
		return nil, fmt.Errorf("values.schema.json: %w", err)
	}
	compiled, err := compiler.Compile(url)
	if broken, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if cause, ok := broken.Err.(*jsonschema.ValidationError); ok {
			first := leaves(cause)[0]
			return nil, fmt.Errorf("values.schema.json is not a JSON Schema: /%s: %s", strings.Join(first.Path, "/"), first.Message)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("values.schema.json: %w", err)
	}
	failure, ok := compiled.Validate(values).(*jsonschema.ValidationError)
	if !ok {
		return nil, nil
	}
	places = leaves(failure)
	// The library walks maps; an answer shall be the same each time.
	slices.SortStableFunc(places, func(a, b Violation) int { return slices.Compare(a.Path, b.Path) })
	return places, nil
}

func leaves(e *jsonschema.ValidationError) []Violation {
	if len(e.Causes) == 0 {
		return []Violation{{Path: e.InstanceLocation, Message: e.ErrorKind.LocalizedString(printer)}}
	}
	var all []Violation
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

var printer = message.NewPrinter(language.English)
