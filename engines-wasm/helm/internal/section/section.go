// Package section is the `helm:` section of a catalog definition.
package section

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is the JSON Schema of the section.
//
//go:embed schema.json
var Schema []byte

// Section is a parsed section: it fits [Schema], and its paths stay inside the
// definition's folder.
type Section struct {
	// Chart is the chart's folder or archive, cleaned, or empty when Inline is
	// set. "." is the definition's own folder.
	Chart       string
	Inline      map[string]json.RawMessage
	ReleaseName string
	Namespace   string
	// Layers in the order in which they override each other: the definition's,
	// then the environment's.
	Layers               []Layer
	ConfigPath           []string
	ValuesFrom           []Mapping
	KubeVersion          string
	APIVersions          []string
	IncludeCRDs          bool
	IncludeHooks         bool
	IncludeTests         bool
	SkipSchemaValidation bool
	SingleFile           bool
	Outputs              map[string]Output
}

// Layer is values files and values over them.
type Layer struct {
	// Where says whose it is, for messages.
	Where string
	Files []string
	// Values as JSON, or nil.
	Values json.RawMessage
}

// Mapping takes a value from the config.
type Mapping struct {
	// Key is the place in the values.
	Key []string
	// Pointer is the place in the config.
	Pointer string
}

// Output is how an output comes about: Value, or Manifest and Path.
type Output struct {
	Value    *string `json:"value"`
	Manifest *string `json:"manifest"`
	Path     string  `json:"path"`
}

type document struct {
	Chart  string `json:"chart"`
	Inline *struct {
		Files map[string]json.RawMessage `json:"files"`
	} `json:"inline"`
	ReleaseName string                 `json:"releaseName"`
	Namespace   string                 `json:"namespace"`
	ValuesFiles []string               `json:"valuesFiles"`
	Values      json.RawMessage        `json:"values"`
	Environment map[string]environment `json:"environments"`
	ConfigPath  string                 `json:"configPath"`
	ValuesFrom  map[string]string      `json:"valuesFrom"`
	KubeVersion string                 `json:"kubeVersion"`
	APIVersions []string               `json:"apiVersions"`
	CRDs        *bool                  `json:"includeCRDs"`
	Hooks       *bool                  `json:"includeHooks"`
	Tests       *bool                  `json:"includeTests"`
	SkipSchema  bool                   `json:"skipSchemaValidation"`
	Layout      string                 `json:"layout"`
	Outputs     map[string]Output      `json:"outputs"`
}

type environment struct {
	ValuesFiles []string        `json:"valuesFiles"`
	Values      json.RawMessage `json:"values"`
	Namespace   string          `json:"namespace"`
	KubeVersion string          `json:"kubeVersion"`
	APIVersions []string        `json:"apiVersions"`
}

// Parse reads a section as it applies in one environment. An error lists
// everything that is wrong, each with its place in the section.
func Parse(section json.RawMessage, environmentName string) (*Section, error) {
	if err := fits(section); err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(section, &d); err != nil {
		return nil, fmt.Errorf("helm section: %w", err)
	}
	s := &Section{
		ReleaseName: d.ReleaseName, Namespace: d.Namespace,
		KubeVersion: d.KubeVersion, APIVersions: d.APIVersions,
		IncludeCRDs: d.CRDs == nil || *d.CRDs, IncludeHooks: d.Hooks == nil || *d.Hooks,
		IncludeTests: d.Tests != nil && *d.Tests, SkipSchemaValidation: d.SkipSchema,
		SingleFile: d.Layout == "single", Outputs: d.Outputs,
		ConfigPath: splitKey(d.ConfigPath),
		Layers:     []Layer{{Where: "the definition", Files: d.ValuesFiles, Values: d.Values}},
	}
	if e, ok := d.Environment[environmentName]; ok {
		s.Layers = append(s.Layers, Layer{"the definition's environment " + environmentName, e.ValuesFiles, e.Values})
		if e.Namespace != "" {
			s.Namespace = e.Namespace
		}
		if e.KubeVersion != "" {
			s.KubeVersion = e.KubeVersion
		}
		s.APIVersions = append(s.APIVersions, e.APIVersions...)
	}
	for key, pointer := range d.ValuesFrom {
		s.ValuesFrom = append(s.ValuesFrom, Mapping{splitKey(key), pointer})
	}
	sort.Slice(s.ValuesFrom, func(i, j int) bool {
		return strings.Join(s.ValuesFrom[i].Key, "\x00") < strings.Join(s.ValuesFrom[j].Key, "\x00")
	})

	var problems []error
	if d.Inline != nil {
		s.Inline = map[string]json.RawMessage{}
		for name, content := range d.Inline.Files {
			clean, err := inside(name)
			if err != nil {
				problems = append(problems, fmt.Errorf("helm section, /inline/files: %w", err))
				continue
			}
			s.Inline[clean] = content
		}
	} else {
		clean, err := inside(d.Chart)
		if err != nil {
			problems = append(problems, fmt.Errorf("helm section, /chart: %w", err))
		}
		s.Chart = clean
	}
	for i, layer := range s.Layers {
		for j, file := range layer.Files {
			clean, err := inside(file)
			if err != nil {
				problems = append(problems, fmt.Errorf("helm section, values files of %s: %w", layer.Where, err))
				continue
			}
			s.Layers[i].Files[j] = clean
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

// IsArchive says whether Chart is an archive rather than a folder.
func (s *Section) IsArchive() bool {
	return strings.HasSuffix(s.Chart, ".tgz") || strings.HasSuffix(s.Chart, ".tar.gz")
}

// inside cleans a path that has to stay below a folder.
func inside(name string) (string, error) {
	clean := path.Clean(name)
	if !fs.ValidPath(clean) || strings.ContainsAny(name, "\\\x00") {
		return "", fmt.Errorf("%q is not a path below the definition's folder", name)
	}
	return clean, nil
}

// splitKey reads a key as Helm's --set does: dots separate, a backslash keeps
// the dot after it.
func splitKey(key string) []string {
	if key == "" {
		return nil
	}
	var parts []string
	var part strings.Builder
	for i := 0; i < len(key); i++ {
		switch {
		case key[i] == '\\' && i+1 < len(key):
			i++
			part.WriteByte(key[i])
		case key[i] == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(key[i])
		}
	}
	return append(parts, part.String())
}

var compiled = sync.OnceValue(func() *jsonschema.Schema {
	const url = "file:///helm-section.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		panic("the section's schema is not JSON: " + err.Error())
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, document); err != nil {
		panic("the section's schema: " + err.Error())
	}
	return compiler.MustCompile(url)
})

// Warm compiles the schema ahead of the first section.
func Warm() { compiled() }

func fits(section json.RawMessage) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(section))
	if err != nil {
		return fmt.Errorf("helm section: not JSON: %w", err)
	}
	failure, ok := compiled().Validate(value).(*jsonschema.ValidationError)
	if !ok {
		return nil
	}
	if m, ok := value.(map[string]any); ok {
		_, hasChart := m["chart"]
		_, hasInline := m["inline"]
		if hasChart == hasInline {
			return errors.New("helm section: it needs a chart: exactly one of `chart` (a folder or .tgz below the definition's folder) and `inline`")
		}
	}
	var problems []error
	seen := map[string]bool{}
	printer := message.NewPrinter(language.English)
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			text := fmt.Sprintf("helm section, %s: %s", pointer(e.InstanceLocation), e.ErrorKind.LocalizedString(printer))
			if !seen[text] {
				seen[text] = true
				problems = append(problems, errors.New(text))
			}
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(failure)
	return errors.Join(problems...)
}

func pointer(path []string) string {
	if len(path) == 0 {
		return "the whole"
	}
	var b strings.Builder
	for _, part := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return b.String()
}
