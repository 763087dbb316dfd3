package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/chartsource"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/render"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/section"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/values"
)

// job is a request, read and checked.
type job struct {
	request   nestor.Request
	section   *section.Section
	inputs    *values.Inputs
	files     []chartsource.File
	archive   []byte
	release   string
	namespace string
	declared  []declaredOutput
}

// rendering is a chart that was rendered.
type rendering struct {
	render.Result
	chartName, chartVersion string
	deprecated              bool
}

var fromFolder = chartsource.FromFolder

// prepare reads the request and the definition's files. Its errors are of the
// contract.
func prepare(ctx nestor.Context, r nestor.Request) (*job, error) {
	s, err := section.Parse(r.Definition, ctx.Environment)
	if err != nil {
		return nil, nestor.Invalidf("", "%v", err)
	}
	j := &job{request: r, section: s}
	if j.declared, err = declaredOutputs(r.DeclaredOutputs, s); err != nil {
		return nil, nestor.Invalidf("", "%v", err)
	}
	settings, err := nestor.Decode[struct {
		Namespace string `json:"namespace"`
	}](r.Settings, "the settings of the engine")
	if err != nil {
		return nil, err
	}
	if j.release, err = releaseName(s.ReleaseName, ctx, r.Name); err != nil {
		return nil, nestor.Invalidf("", "%v", err)
	}
	if j.namespace, err = namespaceName(s.Namespace, settings.Namespace, ctx, r.Name); err != nil {
		return nil, nestor.Invalidf("", "%v", err)
	}
	folder, err := j.fetch(r.CatalogRef)
	if err != nil {
		return nil, err
	}
	if j.inputs, err = values.Read(s, r.Config, folder); err != nil {
		return nil, nestor.Invalidf("", "%v", err)
	}
	return j, nil
}

// fetch gets everything that the section needs of the definition's folder in
// one call, and answers a lookup for values files.
func (j *job) fetch(catalogRef string) (func(string) ([]byte, bool), error) {
	s := j.section
	var wanted []string
	for _, layer := range s.Layers {
		for _, file := range layer.Files {
			wanted = append(wanted, path.Dir(file))
		}
	}
	switch {
	case s.Inline != nil:
		files, err := s.InlineFiles(catalogRef)
		if err != nil {
			return nil, nestor.Invalidf("", "%v", err)
		}
		j.files = files
		if len(wanted) == 0 {
			return func(string) ([]byte, bool) { return nil, false }, nil
		}
	case s.IsArchive():
		wanted = append(wanted, path.Dir(s.Chart))
	default:
		wanted = append(wanted, s.Chart)
	}
	under := commonFolder(wanted)
	found, err := nestor.DefinitionFiles(under)
	if err != nil {
		return nil, nestor.Failed(fmt.Sprintf("the definition's files: %v", err))
	}
	contents := make(map[string][]byte, len(found))
	prefix := s.Chart + "/"
	if s.Chart == "." {
		prefix = ""
	}
	for _, f := range found {
		full := path.Join(under, f.Path)
		contents[full] = f.Content
		if rest, ok := strings.CutPrefix(full, prefix); ok && s.Inline == nil && !s.IsArchive() {
			j.files = append(j.files, chartsource.File{Path: rest, Content: f.Content})
		}
	}
	if s.Inline == nil {
		if content, ok := contents[s.Chart]; s.IsArchive() && ok {
			j.archive = content
		} else if len(j.files) == 0 {
			return nil, nestor.Invalidf("", "the definition's folder has no chart %q", s.Chart)
		}
	}
	return func(name string) ([]byte, bool) {
		content, ok := contents[name]
		return content, ok
	}, nil
}

// commonFolder answers the folder that holds all of them; "" is the top.
func commonFolder(folders []string) string {
	common := folders[0]
	for _, f := range folders[1:] {
		for common != "." && f != common && !strings.HasPrefix(f, common+"/") {
			common = path.Dir(common)
		}
	}
	if common == "." {
		return ""
	}
	return common
}

// load loads the chart; rendering changes it, so each rendering needs its own.
func (j *job) load() (*chart.Chart, error) {
	load := func() (*chart.Chart, error) { return fromFolder(j.files) }
	if j.archive != nil {
		load = func() (*chart.Chart, error) { return chartsource.FromArchive(j.archive) }
	}
	c, err := load()
	if err != nil {
		where := j.section.Chart
		if j.section.Inline != nil {
			where = "inline"
		}
		return nil, fmt.Errorf("chart %s: %w", where, err)
	}
	return c, nil
}

// render renders the chart with the values; where one is not known yet, with a
// placeholder of the variant.
func (j *job) render(variant values.Variant) (rendering, error) {
	c, err := j.load()
	if err != nil {
		return rendering{}, err
	}
	s := j.section
	options := render.Options{
		ReleaseName: j.release, Namespace: j.namespace,
		KubeVersion: s.KubeVersion, APIVersions: s.APIVersions,
		IncludeCRDs: s.IncludeCRDs, SkipHooks: !s.IncludeHooks, SkipTests: !s.IncludeTests,
		SkipSchema: s.SkipSchemaValidation,
		Extra:      j.outputTemplates(),
	}
	if len(j.inputs.Unknowns()) > 0 {
		options.Excused = func(v render.Violation) bool { return j.inputs.DependsOnUnknown(v.Path) }
	}
	r := rendering{chartName: c.Name(), chartVersion: c.Metadata.Version, deprecated: c.Metadata.Deprecated}
	r.Result, err = render.Chart(context.Background(), c, j.inputs.Values(variant), options)
	return r, err
}

func isTemplateError(err error) bool {
	_, ok := render.AsTemplateError(err)
	return ok
}

// explain turns an error of loading or rendering into one of the contract.
// All of them are for the request to mend: the same one fails the same way.
func (j *job) explain(err error) error {
	var invalid nestor.Invalid
	if v, ok := errors.AsType[*render.Violations](err); ok {
		for _, violation := range v.List {
			invalid = append(invalid, j.violation(violation))
		}
		if len(invalid) > 0 {
			return invalid
		}
	}
	if t, ok := render.AsTemplateError(err); ok {
		if output, isOutput := j.outputOf(t.Source); isOutput {
			return nestor.Invalidf("", "helm section, /outputs/%s: %s", output, t.Message)
		}
	}
	return nestor.Invalidf("", "%v", err)
}

// violation says where in the config a value comes from that the chart's
// schema refuses.
func (j *job) violation(v render.Violation) nestor.Violation {
	place := values.Pointer(v.Path)
	message := v.Message + " (values.schema.json of chart " + v.Chart + ")"
	if pointer, ok := j.inputs.ConfigPointer(v.Path); ok {
		if pointer != place && place != "" {
			message = "as value " + place + ": " + message
		}
		return nestor.Violation{Path: pointer, Message: message}
	}
	return nestor.Violation{Message: fmt.Sprintf("value %s, which is not from the config: %s", place, message)}
}

// notYet is for a chart that fails while values of its config are placeholders:
// it may well not fail with the values.
func (j *job) notYet(err error) string {
	var pointers []string
	for _, u := range j.inputs.Unknowns() {
		pointers = append(pointers, u.Pointer)
	}
	return fmt.Sprintf("the manifests can only be rendered when %s is known; with a placeholder the chart says: %v", strings.Join(pointers, ", "), err)
}
