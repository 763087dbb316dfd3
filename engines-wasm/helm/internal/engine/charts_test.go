package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
	"github.com/nestor-platform/orchestrator/sdk/go/nestortest"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/engine"
)

const charts = "../../../../tests/charts"

// context of every call here.
var context = nestor.Context{Deployment: "shop", Environment: "production", Composer: "c", Revision: 1, Attempt: 1}

// definition puts a folder in place as the definition's, below chart/.
func definition(t *testing.T, folder string) *nestortest.Host {
	t.Helper()
	host := nestortest.New(t)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		host.Files["chart/"+filepath.ToSlash(rel)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func request(section, config string) nestor.Request {
	return nestor.Request{
		Name: "web", CatalogRef: "web-service:1.0.0", Definition: nestor.JSON(section), Config: nestor.JSON(config),
		DeclaredOutputs: nestor.JSON(`{}`), Settings: nestor.JSON(`{}`),
	}
}

func foldersOf(t *testing.T, group string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(charts, group))
	if err != nil || len(entries) == 0 {
		t.Fatalf("no charts in %s: %v", group, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// asHelmTemplate is a section with which the engine answers what `helm
// template r CHART --include-crds` prints.
const asHelmTemplate = `{"chart": "chart", "releaseName": "r", "namespace": "default", "includeTests": true, "layout": "single"}`

// TestChartsRender renders every chart that shall render, and compares with
// the helm command where NESTOR_HELM names it.
func TestChartsRender(t *testing.T) {
	helm := os.Getenv("NESTOR_HELM")
	for _, name := range foldersOf(t, "renders") {
		t.Run(name, func(t *testing.T) {
			definition(t, filepath.Join(charts, "renders", name))
			got, err := engine.Engine{}.Render(context, request(asHelmTemplate, `{}`))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Manifests) != 1 || got.Manifests[0].Path != "manifests.yaml" {
				t.Fatalf("got %d manifests, want manifests.yaml alone", len(got.Manifests))
			}
			if helm == "" || name == "random" {
				return
			}
			want, err := exec.Command(helm, "template", "r", filepath.Join(charts, "renders", name), "--include-crds", "--namespace", "default").Output()
			if err != nil {
				t.Fatal(err)
			}
			if got.Manifests[0].Content != string(want) {
				t.Errorf("not what helm prints:\n%s\nhelm:\n%s", got.Manifests[0].Content, want)
			}
		})
	}
}

// TestFilesAreThoseOfHelm compares the layout of a file per template with the
// files that the helm command writes.
func TestFilesAreThoseOfHelm(t *testing.T) {
	helm := os.Getenv("NESTOR_HELM")
	if helm == "" {
		t.Skip("NESTOR_HELM names no helm command")
	}
	for _, name := range foldersOf(t, "renders") {
		if name == "random" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			definition(t, filepath.Join(charts, "renders", name))
			got, err := engine.Engine{}.Render(context, request(`{"chart": "chart", "releaseName": "r", "namespace": "default", "includeTests": true}`, `{}`))
			if err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			if output, err := exec.Command(helm, "template", "r", filepath.Join(charts, "renders", name), "--include-crds", "--output-dir", out).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			ours := map[string]string{}
			for _, m := range got.Manifests {
				ours[m.Path] = m.Content
			}
			err = filepath.WalkDir(filepath.Join(out, name), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				rel, _ := filepath.Rel(filepath.Join(out, name), path)
				want, err := os.ReadFile(path)
				if ours[rel] != string(want) {
					t.Errorf("%s is not what helm writes:\n%s\nhelm:\n%s", rel, ours[rel], want)
				}
				delete(ours, rel)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for path := range ours {
				t.Errorf("helm writes no %s", path)
			}
		})
	}
}

// TestChartsAreRefused holds what the engine says of charts that helm refuses
// too. These messages are what a user reads; review them as text.
func TestChartsAreRefused(t *testing.T) {
	want := map[string]string{
		"bad-chart-yaml":     `chart chart: cannot load Chart.yaml: error converting YAML to JSON: yaml: line 2: did not find expected node content`,
		"bad-ignore":         `chart chart: .helmignore: double-star (**) syntax is not supported`,
		"bad-subchart":       `chart chart: error unpacking subchart x in bad-subchart: validation: chart.metadata.version "nope nope" is invalid`,
		"bad-tpl":            `bad-tpl/templates/a.yaml:2: .Nope has no value, so .a cannot be read in {{ .Nope.a }}, included from bad-tpl/templates/a.yaml:2:6`,
		"bad-values":         `chart chart: cannot load values.yaml: cannot unmarshal yaml document: error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'`,
		"bad-yaml":           `bad-yaml/templates/a.yaml: the result is not YAML: did not find expected key, near "name: a"`,
		"chart-version":      `chart chart: Chart.yaml: unsupported chart apiVersion "v9"; v1 and v2 are supported`,
		"endless":            `endless/templates/a.yaml:1:22: the template "loop" includes itself more than 1000 times in {{ include "loop" . }}, included from endless/templates/a.yaml:1:22, included from endless/templates/a.yaml:2:9`,
		"fail":               "fail/templates/a.yaml:2:3: set ok: true\nand try again",
		"kube-version":       `the chart requires Kubernetes <1.10.0, which v1.37.0 is not`,
		"library":            `library charts are not installable`,
		"missing-dependency": "dependencies named in Chart.yaml are missing in charts/: b; run `helm dependency build` and keep charts/ with the definition",
		"missing-template":   `missing-template/templates/a.yaml:2:3: there is no template "nowhere" in {{ include "nowhere" . }}`,
		"nil-pointer":        `nil-pointer/templates/_h.tpl:2:10: .Values.image has no value, so .tag cannot be read in {{ .Values.image.tag }}, included from nil-pointer/templates/a.yaml:2:10`,
		"no-version":         `chart chart: validation: chart.metadata.version is required`,
		"not-a-manifest":     `not-a-manifest/templates/a.yaml: the result is not a Kubernetes manifest: json: cannot unmarshal array where apiVersion, kind and metadata are expected`,
		"parse-error":        `parse-error/templates/a.yaml:2: unexpected "}" in command`,
		"required":           `required/templates/a.yaml:3:11: a host is needed: set .Values.host`,
		"schema-broken":      `values.schema.json is not a JSON Schema: /type: value must be one of 'array', 'boolean', 'integer', 'null', 'number', 'object', 'string' (values.schema.json of chart schema-broken)`,
		"schema-defaults":    `missing property 'host' (values.schema.json of chart schema-defaults); value /extra/a, which is not from the config: got number, want string (values.schema.json of chart schema-defaults); value /port, which is not from the config: got string, want integer (values.schema.json of chart schema-defaults)`,
		"schema-subchart":    `value /sub/mode, which is not from the config: value must be 'fast' (values.schema.json of chart sub)`,
		"unknown-function":   `unknown-function/templates/a.yaml:3: function "nosuch" not defined`,
	}
	for _, name := range foldersOf(t, "refused") {
		t.Run(name, func(t *testing.T) {
			definition(t, filepath.Join(charts, "refused", name))
			_, err := engine.Engine{}.Render(context, request(asHelmTemplate, `{}`))
			var invalid nestor.Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("got %T (%v), want nestor.Invalid", err, err)
			}
			if got := err.Error(); got != want[name] {
				t.Errorf("got  %s\nwant %s", got, want[name])
			}
		})
	}
}
