package engine

import (
	"fmt"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/section"
)

// Warm runs the engine once while the component is built, so that what it
// compiles and caches on the way (schemas, how JSON and YAML map to types, the
// tables of Helm's functions) is part of the engine's snapshot instead of being
// made anew in every call.
//
// Nothing here may ask for random numbers or call the host: the prior state
// brings its salt, and the chart is written out and warns of nothing.
func Warm() {
	section.Warm()
	r := nestor.Request{
		Name:            "warm",
		CatalogRef:      "warm:1.0.0",
		Definition:      nestor.JSON(warmSection),
		Config:          nestor.JSON(`{"config": {"a": [1, true, null, "x"]}}`),
		DeclaredOutputs: nestor.JSON(`{"name": {"type": "string"}, "port": {"type": "integer"}}`),
		Settings:        nestor.JSON(`{"namespace": "warm"}`),
		Prior:           &nestor.Prior{State: nestor.JSON(`{"schema": 1, "salt": "d2FybQ=="}`)},
	}
	ctx := nestor.Context{Deployment: "warm", Environment: "production", Composer: "warm"}
	e := Engine{}
	rendered, err := e.Render(ctx, r)
	if err != nil {
		panic(fmt.Sprintf("warm render: %v", err))
	}
	r.Prior.State = rendered.State
	r.Config = nestor.JSON(`{"config": {"a": {"$unknown": "array"}}}`)
	if _, err := e.Plan(ctx, r); err != nil {
		panic(fmt.Sprintf("warm plan: %v", err))
	}
	if _, err := e.Validate(ctx, r); err != nil {
		panic(fmt.Sprintf("warm validate: %v", err))
	}
}

// warmSection uses what most charts use.
const warmSection = `{
	"releaseName": "{{ .deployment }}-{{ .resource }}",
	"values": {"port": 80},
	"environments": {"production": {"values": {"replicas": 2}}},
	"valuesFrom": {"moved.here": "/config/a"},
	"outputs": {
		"name": {"value": "{{ include \"warm.name\" . }}"},
		"port": {"manifest": "Service/{{ include \"warm.name\" . }}", "path": "/spec/ports/0/port"}
	},
	"inline": {"files": {
		".helmignore": "# comment\n*.bak\n",
		"Chart.yaml": {"apiVersion": "v2", "name": "warm", "version": "1.0.0", "appVersion": "1.0.0", "type": "application",
			"dependencies": [{"name": "sub", "version": ">=1.0.0", "condition": "sub.enabled", "tags": ["x"]}]},
		"values.yaml": {"replicas": 1, "sub": {"enabled": true}, "global": {}, "tags": {"x": true}},
		"values.schema.json": {"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 0}}},
		"charts/sub/Chart.yaml": {"apiVersion": "v2", "name": "sub", "version": "1.0.0"},
		"charts/sub/templates/a.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: sub\n",
		"crds/a.yaml": "kind: CustomResourceDefinition\n",
		"templates/_names.tpl": "{{- define \"warm.name\" -}}{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix \"-\" }}{{- end }}{{- define \"warm.labels\" -}}app: {{ include \"warm.name\" . | quote }}\nversion: {{ .Chart.AppVersion | replace \"+\" \"_\" }}{{- end }}",
		"templates/service.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ include \"warm.name\" . }}\n  labels: {{- include \"warm.labels\" . | nindent 4 }}\nspec:\n  ports: [{port: {{ .Values.port }}}]\n",
		"templates/deployment.yaml": "{{- if semverCompare \">=1.19-0\" .Capabilities.KubeVersion.Version }}\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"warm.name\" . }}\n  annotations: {sum: {{ toJson .Values | sha256sum }}}\nspec:\n  replicas: {{ .Values.replicas }}\n  values:\n    {{- with .Values }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\n  list:\n    {{- range $i, $v := until 2 }}\n    - {{ tpl \"{{ . }}\" $v | b64enc | quote }}\n    {{- end }}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\n{{- end }}\n",
		"templates/test.yaml": "apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\n  annotations: {\"helm.sh/hook\": \"pre-install,test\", \"helm.sh/hook-weight\": \"1\", \"helm.sh/hook-delete-policy\": \"hook-succeeded\"}\n",
		"templates/NOTES.txt": "{{ .Release.Name }}"
	}}
}`
