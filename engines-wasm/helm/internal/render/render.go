// Package render does what `helm template` does, with Helm's own code for
// every step but one (sort.go). The order of the steps is written here, because
// the package that holds it in Helm (pkg/action) talks to clusters through code
// that does not compile for WebAssembly.
package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
)

const (
	// HelmVersion is the version of Helm whose code this is, as charts see it
	// in .Capabilities.HelmVersion.
	HelmVersion = "v4.3.1"

	// KubeVersion is what charts see in .Capabilities.KubeVersion when nothing
	// else was asked for: the Kubernetes release of Helm's own client, as for
	// the helm command. Helm reads it from the build information, which a test
	// binary lacks; a test holds the two together.
	KubeVersion = "v1.37.0"

	// extraFolder holds templates that are not the chart's own. Its name
	// begins with a dot: such files in templates/ are ignored by default, so
	// no chart in a folder has one.
	extraFolder = "templates/.nestor"

	notesFile = "NOTES.txt"
)

// Options are the flags of `helm template` that the engine uses.
type Options struct {
	// ReleaseName and Namespace are required.
	ReleaseName, Namespace string
	// KubeVersion replaces the default one; empty is the default.
	KubeVersion string
	// APIVersions come on top of those that Helm knows.
	APIVersions []string
	// IncludeCRDs adds the files of crds/ in front.
	IncludeCRDs bool
	// SkipHooks and SkipTests leave hooks, or only test hooks, out.
	SkipHooks, SkipTests bool
	// SkipSchema leaves values.schema.json alone.
	SkipSchema bool
	// Excused says which violations of values.schema.json do not count; nil
	// excuses none.
	Excused func(Violation) bool
	// Extra are templates that are not part of the chart, by a name of the
	// caller. They see what the templates of the root chart see, named
	// templates included.
	Extra map[string]string
}

// Document is one YAML document of a rendering.
type Document struct {
	// Source is the file it comes from, under the chart's name:
	// "web/templates/service.yaml".
	Source string
	// Content is without the separator, as the template wrote it.
	Content string
	// APIVersion, Kind and Name as far as Helm reads them; empty for a CRD
	// file, which may hold several documents.
	APIVersion, Kind, Name string
	// Hook says that it belongs to a hook, CRD that it is a file of crds/.
	Hook, CRD bool
}

// Result is what a chart renders to.
type Result struct {
	// Documents in the order in which `helm template` prints them: CRDs, then
	// manifests in Helm's install order, then hooks.
	Documents []Document
	// Notes of the root chart.
	Notes string
	// Extra holds what the extra templates became, by the caller's names.
	Extra map[string]string
	// Values are those that the templates saw.
	Values map[string]any

	lastManifest int
}

// Chart renders c with values. It changes c: load a chart anew for every
// rendering. Errors are of type [*Violations] when values do not fit the
// chart's schema, [*TemplateError] when a template cannot be parsed or
// executed (the functions fail and required among them), and plain otherwise.
func Chart(ctx context.Context, c *chart.Chart, values map[string]any, o Options) (Result, error) {
	if err := chartutil.ValidateReleaseName(o.ReleaseName); err != nil {
		return Result{}, fmt.Errorf("release name %q: %w", o.ReleaseName, err)
	}
	if err := installable(c); err != nil {
		return Result{}, err
	}
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return Result{}, fmt.Errorf("chart dependencies: %w", err)
	}
	capabilities, err := capabilities(o)
	if err != nil {
		return Result{}, err
	}
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, capabilities.KubeVersion.String()) {
		return Result{}, fmt.Errorf("the chart requires Kubernetes %s, which %s is not", want, capabilities.KubeVersion.Version)
	}
	top, err := util.ToRenderValuesWithSchemaValidation(c, values, common.ReleaseOptions{
		Name: o.ReleaseName, Namespace: o.Namespace, Revision: 1, IsInstall: true,
	}, capabilities, true)
	if err != nil {
		return Result{}, err
	}
	chartValues, _ := top["Values"].(common.Values)
	if !o.SkipSchema {
		if err := validate(c, chartValues, o.Excused); err != nil {
			return Result{}, err
		}
	}

	for name, text := range o.Extra {
		c.Templates = append(c.Templates, &common.File{Name: path.Join(extraFolder, name), Data: []byte(text)})
	}
	files, err := new(engine.Engine).RenderWithContext(ctx, c, top)
	if err != nil {
		return Result{}, templateError(c.Name(), err)
	}
	result := Result{Extra: takeExtra(c, files), Notes: takeNotes(c, files), Values: chartValues}
	if err := bounded(files); err != nil {
		return Result{}, err
	}
	if err := result.sort(c, files, o); err != nil {
		return Result{}, err
	}
	return result, nil
}

// installable is what the helm command asks of a chart before it renders it.
func installable(c *chart.Chart) error {
	switch c.Metadata.Type {
	case "", "application":
	default:
		return fmt.Errorf("%s charts are not installable", c.Metadata.Type)
	}
	var missing []string
	for _, wanted := range c.Metadata.Dependencies {
		if !slices.ContainsFunc(c.Dependencies(), func(d *chart.Chart) bool { return d.Name() == wanted.Name }) {
			missing = append(missing, wanted.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("dependencies named in Chart.yaml are missing in charts/: %s; run `helm dependency build` and keep charts/ with the definition", strings.Join(missing, ", "))
	}
	return nil
}

func capabilities(o Options) (*common.Capabilities, error) {
	c := common.DefaultCapabilities.Copy()
	c.HelmVersion.Version = HelmVersion
	wanted := o.KubeVersion
	if wanted == "" {
		wanted = KubeVersion
	}
	kubeVersion, err := common.ParseKubeVersion(wanted)
	if err != nil {
		return nil, fmt.Errorf("kubeVersion %q: %w", wanted, err)
	}
	c.KubeVersion = *kubeVersion
	c.APIVersions = append(slices.Clone(c.APIVersions), o.APIVersions...)
	return c, nil
}

func takeExtra(c *chart.Chart, files map[string]string) map[string]string {
	extra := map[string]string{}
	prefix := path.Join(c.ChartFullPath(), extraFolder) + "/"
	for name, content := range files {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			extra[rest] = content
			delete(files, name)
		}
	}
	return extra
}

// takeNotes answers the root chart's notes and drops those of subcharts, which
// are not manifests either.
func takeNotes(c *chart.Chart, files map[string]string) string {
	notes := files[path.Join(c.Name(), "templates", notesFile)]
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, notesFile) })
	if len(notes) > limits.NotesBytes {
		notes = strings.ToValidUTF8(notes[:limits.NotesBytes], "") + "\n(cut: the notes are longer)"
	}
	return notes
}

func bounded(files map[string]string) error {
	total := 0
	for _, content := range files {
		total += len(content)
	}
	if total > limits.RenderedBytes {
		return fmt.Errorf("the chart renders to %d bytes, more than %d", total, limits.RenderedBytes)
	}
	return nil
}

func (r *Result) sort(c *chart.Chart, files map[string]string, o Options) error {
	hooks, manifests, err := sortManifests(files)
	if err != nil {
		return yamlError(c.Name(), files, err)
	}
	if o.IncludeCRDs {
		for _, crd := range c.CRDObjects() {
			r.Documents = append(r.Documents, Document{Source: crd.Filename, Content: string(crd.File.Data), CRD: true})
		}
	}
	for _, m := range manifests {
		r.Documents = append(r.Documents, m.public(false))
	}
	r.lastManifest = len(r.Documents)
	if !o.SkipHooks {
		for _, h := range hooks {
			if o.SkipTests && slices.Contains(h.events, release.HookTest) {
				continue
			}
			r.Documents = append(r.Documents, h.public(true))
		}
	}
	if len(r.Documents) > limits.Manifests {
		return fmt.Errorf("the chart renders to %d documents, more than %d", len(r.Documents), limits.Manifests)
	}
	return nil
}

func (d document) public(hook bool) Document {
	p := Document{Source: d.source, Content: d.content, APIVersion: d.head.Version, Kind: d.head.Kind, Hook: hook}
	if d.head.Metadata != nil {
		p.Name = d.head.Metadata.Name
	}
	return p
}

// Stream is byte for byte what `helm template` prints.
func (r Result) Stream() string {
	var manifests, all strings.Builder
	for _, d := range r.Documents[:r.lastManifest] {
		write(&manifests, d)
	}
	all.WriteString(strings.TrimSpace(manifests.String()))
	all.WriteByte('\n')
	for _, d := range r.Documents[r.lastManifest:] {
		write(&all, d)
	}
	return all.String()
}

// File is the documents of one source file.
type File struct{ Path, Content string }

// Files are byte for byte those that `helm template --output-dir` writes, one
// per source file, in the order of their first document. Paths are under the
// chart's name.
func (r Result) Files() ([]File, error) {
	var order []string
	contents := map[string]*strings.Builder{}
	for _, d := range r.Documents {
		b, ok := contents[d.Source]
		if !ok {
			b = &strings.Builder{}
			contents[d.Source] = b
			order = append(order, d.Source)
		}
		write(b, d)
	}
	files := make([]File, len(order))
	total := 0
	for i, source := range order {
		files[i] = File{source, contents[source].String()}
		total += len(files[i].Content)
	}
	if total > limits.RenderedBytes {
		return nil, errors.New("the manifests with the chart's CRDs are larger than the engine's limit")
	}
	return files, nil
}

func write(b *strings.Builder, d Document) {
	b.WriteString("---\n# Source: ")
	b.WriteString(d.Source)
	b.WriteByte('\n')
	b.WriteString(d.Content)
	b.WriteByte('\n')
}
