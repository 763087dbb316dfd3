package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
	"github.com/nestor-platform/orchestrator/sdk/go/nestortest"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/engine"
)

// web is a small chart written into a section.
const web = `
"inline": {"files": {
	"values.yaml": {"replicas": 1, "image": {"tag": "1.0"}, "service": {"port": 80}},
	"values.schema.json": {"type": "object", "properties": {
		"replicas": {"type": "integer", "maximum": 9},
		"database": {"type": "object", "properties": {"host": {"type": "string", "pattern": "^[a-z.]+$"}}}}},
	"templates/_names.tpl": "{{ define \"web.name\" }}{{ .Release.Name }}-web{{ end }}",
	"templates/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"web.name\" . }}\n  namespace: {{ .Release.Namespace }}\nspec:\n  replicas: {{ .Values.replicas }}\n  template:\n    metadata:\n      annotations: {sum: {{ toJson .Values | sha256sum }}}\n    spec: {containers: [{name: web, image: \"web:{{ .Values.image.tag }}\", env: [{name: DB, value: {{ ((.Values.database).host) | quote }}}]}]}\n",
	"templates/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: {{ include \"web.name\" . }}}\nspec: {ports: [{port: {{ .Values.service.port }}}]}\n",
	"templates/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: {{ include \"web.name\" . }}}\nstringData: {password: {{ .Values.password | default \"none\" | quote }}}\n",
	"templates/extra.yaml": "{{ if .Values.extra }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n{{ end }}",
	"templates/NOTES.txt": "Running {{ .Values.replicas }}."
}}`

func inline(more string) string { return "{" + web + more + "}" }

func render(t *testing.T, r nestor.Request) nestor.Rendered {
	t.Helper()
	rendered, err := engine.Engine{}.Render(context, r)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func plan(t *testing.T, r nestor.Request) nestor.ProposedChanges {
	t.Helper()
	p, err := engine.Engine{}.Plan(context, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func manifest(t *testing.T, r nestor.Rendered, path string) string {
	t.Helper()
	for _, m := range r.Manifests {
		if m.Path == path {
			return m.Content
		}
	}
	t.Fatalf("no manifest %s in %v", path, r.Manifests)
	return ""
}

func TestRenderLaysOutAFilePerTemplate(t *testing.T) {
	nestortest.New(t)
	got := render(t, request(inline(""), `{"replicas": 3}`))
	var paths []string
	for _, m := range got.Manifests {
		paths = append(paths, m.Path)
	}
	// Helm's install order: what others need comes first.
	if want := "templates/secret.yaml templates/service.yaml templates/deployment.yaml"; strings.Join(paths, " ") != want {
		t.Errorf("got %v, want %s", paths, want)
	}
	if want := "---\n# Source: web-service/templates/service.yaml\napiVersion: v1\nkind: Service\nmetadata: {name: shop-web-web}\nspec: {ports: [{port: 80}]}\n\n"; manifest(t, got, "templates/service.yaml") != want {
		t.Errorf("got %q, want %q", manifest(t, got, "templates/service.yaml"), want)
	}
	if got.Notes != "Running 3." {
		t.Errorf("notes %q", got.Notes)
	}
}

func TestValuesPrecedence(t *testing.T) {
	section := inline(`,
		"valuesFiles": ["values/base.yaml"],
		"values": {"service": {"port": 2}, "image": {"tag": "of-values"}},
		"environments": {
			"production": {"valuesFiles": ["values/prod.yaml"], "values": {"replicas": 5}},
			"staging": {"values": {"replicas": 7}}}`)
	for _, c := range []struct{ name, environment, config, deployment, service string }{
		{"environment over definition", "production", `{}`, "replicas: 5", "port: 4"},
		{"config over environment", "production", `{"replicas": 8, "service": {"port": 5}}`, "replicas: 8", "port: 5"},
		{"another environment", "staging", `{}`, "replicas: 7", "port: 2"},
		{"values over values files", "none", `{}`, "web:of-values", "port: 2"},
		{"a null takes a value away", "none", `{"image": {"tag": null}}`, `"web:"`, "port: 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := nestortest.New(t)
			host.Files["values/base.yaml"] = "service: {port: 1}\nimage: {tag: of-file}\n"
			host.Files["values/prod.yaml"] = "service: {port: 4}\nreplicas: 4\n"
			ctx := context
			ctx.Environment = c.environment
			got, err := engine.Engine{}.Render(ctx, request(section, c.config))
			if err != nil {
				t.Fatal(err)
			}
			if m := manifest(t, got, "templates/deployment.yaml"); !strings.Contains(m, c.deployment) {
				t.Errorf("no %q in %s", c.deployment, m)
			}
			if m := manifest(t, got, "templates/service.yaml"); !strings.Contains(m, c.service) {
				t.Errorf("no %q in %s", c.service, m)
			}
		})
	}
}

func TestConfigIsPlaced(t *testing.T) {
	for _, c := range []struct{ name, more, config, want string }{
		{"below a key", `, "configPath": "database"`, `{"host": "db.internal"}`, `value: "db.internal"`},
		{"from a pointer", `, "valuesFrom": {"database.host": "/links/0/url", "image.tag": "/v"}`, `{"links": [{"url": "db.links"}], "v": "9", "replicas": 2}`, `value: "db.links"`},
		{"what is taken is not merged", `, "valuesFrom": {"image.tag": "/replicas"}`, `{"replicas": 4}`, "replicas: 1\n"},
		{"what is not there leaves the default", `, "valuesFrom": {"image.tag": "/none"}`, `{}`, "web:1.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nestortest.New(t)
			got := render(t, request(inline(c.more), c.config))
			if m := manifest(t, got, "templates/deployment.yaml"); !strings.Contains(m, c.want) {
				t.Errorf("no %q in %s", c.want, m)
			}
		})
	}
}

func TestViolationsPointIntoTheConfig(t *testing.T) {
	for _, c := range []struct{ name, more, config, path, message string }{
		{"merged", ``, `{"replicas": 10}`, "/replicas", "maximum: got 10, want 9"},
		{"nested", ``, `{"database": {"host": "UPPER"}}`, "/database/host", "does not match pattern"},
		{"below a key", `, "configPath": "database"`, `{"host": "UPPER"}`, "/host", "as value /database/host"},
		{"from a pointer", `, "valuesFrom": {"database.host": "/links/0"}`, `{"links": ["UPPER"]}`, "/links/0", "as value /database/host"},
		{"of the definition", `, "values": {"replicas": 10}`, `{}`, "", "value /replicas, which is not from the config"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nestortest.New(t)
			_, err := engine.Engine{}.Validate(context, request(inline(c.more), c.config))
			var invalid nestor.Invalid
			if !errors.As(err, &invalid) || len(invalid) != 1 {
				t.Fatalf("got %v, want one violation", err)
			}
			if invalid[0].Path != c.path || !strings.Contains(invalid[0].Message, c.message) {
				t.Errorf("got %+v, want %s at %q", invalid[0], c.message, c.path)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	section := inline(`, "outputs": {
		"url": {"value": "http://{{ include \"web.name\" . }}.{{ .Release.Namespace }}:{{ .Values.service.port }}"},
		"port": {"manifest": "Service/{{ include \"web.name\" . }}", "path": "/spec/ports/0/port"},
		"spec": {"manifest": "Service/{{ include \"web.name\" . }}", "path": "/spec"},
		"replicas": {"value": "{{ mul .Values.replicas 2 }}"},
		"not-declared": {"value": "{{ fail \"is not evaluated\" }}"}}`)
	nestortest.New(t)
	r := request(section, `{}`)
	r.DeclaredOutputs = nestor.JSON(`{"url": {"type": "string", "sensitive": true}, "port": {"type": "integer"}, "spec": {"type": "object"}, "replicas": {"type": "integer"}}`)
	got := render(t, r)
	var lines []string
	for _, o := range got.Outputs {
		line := o.Name + "=" + string(o.Value)
		if o.Sensitive {
			line += " sensitive"
		}
		lines = append(lines, line)
	}
	want := `port=80
replicas=2
spec={"ports":[{"port":80}]}
url="http://shop-web-web.default:80" sensitive`
	if strings.Join(lines, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), want)
	}
	for _, m := range got.Manifests {
		if strings.Contains(m.Path, "nestor") || strings.Contains(m.Content, "http://") {
			t.Errorf("an output's template became a manifest: %s", m.Path)
		}
	}
}

func TestOutputsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ name, output, jsonType, want string }{
		{"not described", ``, "string", "helm section, /outputs: the definition declares x, and the section does not say how it comes about"},
		{"another type", `"x": {"value": "text"}`, "integer", "helm section, /outputs/x: the definition declares type integer, the value is of type string"},
		{"not rendered", `"x": {"manifest": "Service/other", "path": "/spec"}`, "object", "helm section, /outputs/x: the chart renders no Service/other with these values, but Service/shop-web-web"},
		{"no such kind", `"x": {"manifest": "Gateway/other", "path": ""}`, "object", "helm section, /outputs/x: the chart renders no Gateway with these values"},
		{"nothing there", `"x": {"manifest": "Service/shop-web-web", "path": "/status/ip"}`, "string", "helm section, /outputs/x: Service/shop-web-web (web-service/templates/service.yaml) has nothing at /status/ip"},
		{"a template that fails", `"x": {"value": "{{ required \"no host\" .Values.host }}"}`, "string", "helm section, /outputs/x: no host"},
		{"a template that is none", `"x": {"value": "{{ .Values.x "}`, "string", "helm section, /outputs/x: unclosed action"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nestortest.New(t)
			r := request(inline(`, "outputs": {`+c.output+`}`), `{}`)
			r.DeclaredOutputs = nestor.JSON(`{"x": {"type": "` + c.jsonType + `"}}`)
			_, err := engine.Engine{}.Render(context, r)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func changesOf(p nestor.ProposedChanges) string {
	var lines []string
	for _, c := range p.Changes {
		line := c.Path + ": " + string(c.Before) + " → " + string(c.After)
		if c.Sensitive {
			line += " sensitive"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestPlanComparesWithWhatWasDelivered(t *testing.T) {
	nestortest.New(t)
	r := request(inline(""), `{"replicas": 2, "password": "old", "extra": true}`)
	first := plan(t, r)
	if first.Action != nestor.ActionCreate || first.Summary != "release shop-web of chart web-service 1.0.0 in namespace default: 4 objects to add" || len(first.Changes) != 4 {
		t.Errorf("got %v %q with %d changes", first.Action, first.Summary, len(first.Changes))
	}
	delivered := render(t, r)
	if strings.Contains(string(delivered.State), "old") {
		t.Error("the state holds a secret's value")
	}

	r.Prior = &nestor.Prior{Config: r.Config, State: delivered.State}
	if again := plan(t, r); again.Action != nestor.ActionNoop || len(again.Changes) != 0 || again.Summary != "release shop-web in namespace default: no changes" {
		t.Errorf("got %v %q %s", again.Action, again.Summary, changesOf(again))
	}

	r.Config = nestor.JSON(`{"replicas": 3, "password": "new", "service": {"port": 81}}`)
	got := plan(t, r)
	if got.Action != nestor.ActionUpdate || got.Summary != "release shop-web in namespace default: 0 objects to add, 3 to change, 1 to remove" {
		t.Errorf("got %v %q", got.Action, got.Summary)
	}
	text := changesOf(got)
	for _, want := range []string{
		"apps/v1/Deployment/default/shop-web-web#/spec/replicas: 2 → 3",
		"v1/Service/shop-web-web#/spec/ports/0/port: 80 → 81",
		`v1/Secret/shop-web-web#/stringData/password: "(sensitive)" → "(sensitive)" sensitive`,
		`v1/ConfigMap/extra: {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"extra"}} → `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") || strings.Contains(text, `"new"`) {
		t.Errorf("a secret's value is shown:\n%s", text)
	}
}

func TestPlanWithValuesThatDoNotExistYet(t *testing.T) {
	nestortest.New(t)
	outputs := `, "outputs": {
		"host": {"value": "{{ .Values.database.host }}"},
		"port": {"value": "{{ .Values.service.port }}"}}`
	declared := nestor.JSON(`{"host": {"type": "string"}, "port": {"type": "integer"}}`)
	r := request(inline(outputs), `{"database": {"host": "db.internal"}}`)
	r.DeclaredOutputs = declared
	delivered := render(t, r)

	// The schema's pattern refuses the placeholder; that is not the user's doing.
	r.Config = nestor.JSON(`{"database": {"host": {"$unknown": "string"}}, "extra": {"$unknown": "boolean"}}`)
	r.Prior = &nestor.Prior{State: delivered.State}
	got := plan(t, r)
	if want := "release shop-web in namespace default: 1 object to add, 1 to change, 0 to remove; 2 of these depend on values that are known only after apply"; got.Summary != want {
		t.Errorf("got %q, want %q", got.Summary, want)
	}
	text := changesOf(got)
	for _, want := range []string{
		`apps/v1/Deployment/default/shop-web-web#/spec/template/spec/containers/0/env/0/value: "db.internal" → {"$unknown":"string"}`,
		// A checksum over the values depends on them too.
		`apps/v1/Deployment/default/shop-web-web#/spec/template/metadata/annotations/sum: `,
		`v1/ConfigMap/extra: `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "known-after-apply") {
		t.Errorf("a placeholder is shown:\n%s", text)
	}
	planned, _ := json.Marshal(got.Outputs)
	if len(got.Outputs) != 2 || got.Outputs[0].Known != nil || string(got.Outputs[1].Known) != "80" {
		t.Errorf("outputs %s", planned)
	}

	if _, err := (engine.Engine{}).Render(context, r); err == nil || err.Error() != "/database/host: the value is not known yet; /extra: the value is not known yet" {
		t.Errorf("render: %v", err)
	}
	// What is wrong beside the unknown value is still told.
	r.Config = nestor.JSON(`{"database": {"host": {"$unknown": "string"}}, "replicas": 10}`)
	if _, err := (engine.Engine{}).Plan(context, r); err == nil || !strings.HasPrefix(err.Error(), "/replicas: ") {
		t.Errorf("plan: %v", err)
	}
}

func TestPlanTakesUnknownValuesFromTheirPlace(t *testing.T) {
	nestortest.New(t)
	for _, c := range []struct{ name, more, config string }{
		{"from a pointer", `, "valuesFrom": {"database.host": "/link/url"}`, `{"link": {"url": {"$unknown": "string"}}}`},
		{"from within an unknown object", `, "valuesFrom": {"database.host": "/link/url"}`, `{"link": {"$unknown": "object"}}`},
		{"below a key", `, "configPath": "database"`, `{"host": {"$unknown": "string"}}`},
	} {
		got := plan(t, request(inline(c.more), c.config))
		found := false
		for _, change := range got.Changes {
			found = found || strings.Contains(string(change.After), `"name":"DB","value":{"$unknown":"string"}`)
		}
		if !found {
			t.Errorf("%s: the deployment's DB is not unknown in\n%s", c.name, changesOf(got))
		}
	}
}

func TestPlanOfAChartThatRefusesPlaceholders(t *testing.T) {
	nestortest.New(t)
	section := `{"inline": {"files": {"templates/a.yaml": "kind: A\nhost: {{ if hasPrefix \"known\" .Values.host }}{{ fail \"not a host\" }}{{ end }}"}}}`
	got := plan(t, request(section, `{"host": {"$unknown": "string"}}`))
	if got.Action != nestor.ActionCreate || !strings.Contains(got.Summary, "can only be rendered when /host is known") || !strings.Contains(got.Summary, "not a host") {
		t.Errorf("got %v %q", got.Action, got.Summary)
	}
}

func TestPlanTellsWhatOnlyVaries(t *testing.T) {
	definition(t, charts+"/renders/random")
	r := request(`{"chart": "chart"}`, `{}`)
	delivered := render(t, r)
	r.Prior = &nestor.Prior{State: delivered.State}
	got := plan(t, r)
	if want := "release shop-web in namespace default: 0 objects to add, 2 to change, 0 to remove; 2 of these have values that every rendering makes anew (random ones, or the time)"; got.Summary != want {
		t.Errorf("got %q, want %q", got.Summary, want)
	}
}

func TestSectionsThatAreWrong(t *testing.T) {
	for _, c := range []struct{ name, section, want string }{
		{"no chart", `{}`, "exactly one of `chart`"},
		{"two charts", `{"chart": "a", "inline": {"files": {"a": ""}}}`, "exactly one of `chart`"},
		{"unknown key", `{"chart": "a", "valeus": {}}`, "additional properties 'valeus' not allowed"},
		{"outside", `{"chart": "../other"}`, `"../other" is not a path below the definition's folder`},
		{"absolute", `{"chart": "/etc"}`, `"/etc" is not a path below the definition's folder`},
		{"outside, a values file", `{"chart": "a", "valuesFiles": ["b/../../c"]}`, `"b/../../c" is not a path`},
		{"no folder", `{"chart": "./nowhere"}`, "nowhere"},
		{"no archive", `{"chart": "./nowhere.tgz"}`, `no chart "nowhere.tgz"`},
		{"no values file", `{"inline": {"files": {"templates/a.yaml": ""}}, "valuesFiles": ["x.yaml"]}`, "values file x.yaml of the definition is not in the definition's folder"},
		{"a bad name", `{"chart": "chart", "releaseName": "Not A Name"}`, `/releaseName: "Not A Name"`},
		{"a bad template", `{"chart": "chart", "releaseName": "{{ .revision }}"}`, "map has no entry for key"},
		{"a bad namespace", `{"chart": "chart", "namespace": "a.b"}`, `namespace "a.b" is not a DNS label`},
		{"a bad version", `{"chart": "chart", "kubeVersion": "new"}`, `kubeVersion "new"`},
		{"not JSON", `{`, "not JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := nestortest.New(t)
			host.Files["chart/Chart.yaml"] = "apiVersion: v2\nname: a\nversion: 1.0.0\n"
			_, err := engine.Engine{}.Render(context, request(c.section, `{}`))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestConfigsThatAreWrong(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"not an object", `[1]`, "config: not a JSON object"},
		{"too deep", strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200), "nested more than 100 levels deep"},
		{"too large", `{"a": "` + strings.Repeat("x", 5<<20) + `"}`, "more than the limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nestortest.New(t)
			_, err := engine.Engine{}.Render(context, request(inline(""), c.config))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestReleaseNames(t *testing.T) {
	nestortest.New(t)
	seen := map[string]string{}
	for _, c := range []struct{ deployment, resource, want string }{
		{"shop", "web", "shop-web"},
		{"shop-eu", "web", "shop-eu-web"},
		{"shop", "eu-web", "shop-eu-web-29d1f5b2"},
		{"Shop", "web", "shop-web-"},
		{"shop_1", "web", "shop-1-web-"},
		{strings.Repeat("a", 80), "web", strings.Repeat("a", 44) + "-"},
	} {
		ctx := context
		ctx.Deployment = c.deployment
		r := request(`{"inline": {"files": {"templates/a.yaml": "kind: {{ .Release.Name }}"}}}`, `{}`)
		r.Name = c.resource
		got, err := engine.Engine{}.Render(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(strings.TrimSpace(got.Manifests[0].Content), "kind: ")
		if !strings.HasPrefix(name, c.want) || len(name) > 53 || seen[name] != "" {
			t.Errorf("%s and %s: got %q, want %q", c.deployment, c.resource, name, c.want)
		}
		seen[name] = c.deployment
	}
}

func TestWarnings(t *testing.T) {
	host := definition(t, charts+"/renders/hooks")
	host.Files["chart/Chart.yaml"] += "deprecated: true\n"
	got, err := engine.Engine{}.Validate(context, request(`{"chart": "chart"}`, `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "skipping unknown hooks, hookTypes crd-install|the chart is deprecated"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHooksAndCRDsAreChosen(t *testing.T) {
	for _, c := range []struct{ chart, more, has, hasNot string }{
		{"hooks", ``, "pre-install", "test-success"},
		{"hooks", `, "includeTests": true`, "test-success", "crd-install"},
		{"hooks", `, "includeHooks": false`, "kind: Service", "pre-install"},
		{"crds", ``, "widgets.example.org", "Not a CRD"},
		{"crds", `, "includeCRDs": false`, "kind: Widget", "widgets.example.org"},
		{"crds", `, "apiVersions": ["example.org/v1"]`, "known: true", "known: false"},
	} {
		definition(t, charts+"/renders/"+c.chart)
		got := render(t, request(`{"chart": "chart", "layout": "single"`+c.more+`}`, `{}`)).Manifests[0].Content
		if !strings.Contains(got, c.has) || strings.Contains(got, c.hasNot) {
			t.Errorf("%s with %q: want %q and no %q in\n%s", c.chart, c.more, c.has, c.hasNot, got)
		}
	}
}

func TestArchivesRenderLikeFolders(t *testing.T) {
	definition(t, charts+"/renders/subcharts/charts")
	got := render(t, request(`{"chart": "chart/packed-0.2.0.tgz", "valuesFiles": ["chart/store/values.yaml"]}`, `{"own": 7}`))
	if m := manifest(t, got, "templates/a.yaml"); !strings.Contains(m, "name: shop-web-packed") || !strings.Contains(m, `\"own\":7`) || !strings.Contains(m, "zstd") {
		t.Errorf("got %s", m)
	}
}

func TestDeliveryIsByCommits(t *testing.T) {
	e := engine.Engine{}
	r := request(inline(""), `{}`)
	var unsupported nestor.Unsupported
	if _, err := e.Apply(context, r); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), `"delivery": "gitops"`) {
		t.Errorf("apply: %v", err)
	}
	if _, err := e.Drift(context, r); !errors.As(err, &unsupported) {
		t.Errorf("drift: %v", err)
	}
	var missing nestor.Missing
	if _, err := e.Observe(context, r); !errors.As(err, &missing) {
		t.Errorf("observe: %v", err)
	}
	if _, err := e.Destroy(context, r); err != nil {
		t.Errorf("destroy of what was never delivered: %v", err)
	}
	r.Prior = &nestor.Prior{}
	if _, err := e.Destroy(context, r); !errors.As(err, &unsupported) {
		t.Errorf("destroy: %v", err)
	}
}

func TestStatesOfOtherFormatsAreRefused(t *testing.T) {
	nestortest.New(t)
	r := request(inline(""), `{}`)
	for state, want := range map[string]string{
		`{"schema": 9}`:                       "format 9",
		`[]`:                                  "cannot be read",
		`{"schema": 1, "manifests": "x"}`:     "cannot be read",
		`{"schema": 1, "manifestsGzip": "x"}`: "cannot be read",
	} {
		r.Prior = &nestor.Prior{State: nestor.JSON(state)}
		if _, err := (engine.Engine{}).Plan(context, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", state, err, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	d := engine.Engine{}.Describe()
	if !json.Valid(d.DefinitionSchema) || d.Features != nestor.FeatureRender || d.Name != "helm" {
		t.Errorf("got %+v", d)
	}
	engine.Warm()
}

func TestPlanNamesCRDFilesThatChange(t *testing.T) {
	host := definition(t, charts+"/renders/crds")
	r := request(`{"chart": "chart"}`, `{}`)
	r.Prior = &nestor.Prior{State: render(t, r).State}
	if got := plan(t, r); got.Action != nestor.ActionNoop {
		t.Errorf("got %v %s", got.Action, changesOf(got))
	}
	host.Files["chart/crds/widgets.yaml"] += "# more\n"
	got := plan(t, r)
	if text := changesOf(got); got.Summary != "release shop-web in namespace default: 0 objects to add, 1 to change, 0 to remove" || !strings.HasPrefix(text, `crds/crds/widgets.yaml#: "sha256:`) {
		t.Errorf("got %q %s", got.Summary, text)
	}
}
