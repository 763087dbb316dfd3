package render

import (
	"reflect"
	"strings"
	"testing"

	yamlv2 "go.yaml.in/yaml/v2"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"
)

var heads = map[string]struct {
	content string
	// plain says that the short way is taken.
	plain bool
}{
	"usual":                 {"apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec: {ports: [{port: 80, x: 1.5, w: true, z: ~}]}\n", true},
	"annotations":           {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    \"helm.sh/hook\": test\n    b: \"1\"\n", true},
	"no annotations":        {"kind: Pod\nmetadata: {name: a, annotations: {}}\n", true},
	"no metadata":           {"apiVersion: v1\nkind: List\nitems: []\n", true},
	"named twice":           {"kind: A\nkind: B\n", true},
	"anchors":               {"kind: &k Pod\nmetadata: {name: *k}\n", true},
	"merged":                {"x: &x {name: a}\nkind: Pod\nmetadata:\n  <<: *x\n", true},
	"escapes":               {"kind: \"\\u2028<\\u0000\"\nmetadata: {name: \"\\u00e9\"}\n", true},
	"numbers in place":      {"kind: 5\nmetadata: {name: 1.0}\n", false},
	"annotation a number":   {"metadata: {annotations: {a: 1}}\n", false},
	"annotation a boolean":  {"metadata: {annotations: {a: yes}}\n", false},
	"annotation null":       {"metadata: {annotations: {a: ~}}\n", false},
	"annotations a list":    {"metadata: {annotations: [a]}\n", false},
	"annotations null":      {"metadata: {annotations: ~}\n", false},
	"metadata null":         {"metadata:\n", false},
	"metadata a text":       {"metadata: a\n", false},
	"kind a map":            {"kind: {}\n", false},
	"kind null":             {"kind:\n", false},
	"other case":            {"Kind: Pod\nmetadata: {Name: a}\n", false},
	"other case besides":    {"kind: Pod\nKIND: Service\n", false},
	"other letters":         {"\u212Aind: Pod\n", false},
	"annotations elsewhere": {"metadata: {Annotations: {a: b}}\n", false},
	"a number as key":       {"kind: Pod\n1: a\n", false},
	"a list as key":         {"kind: Pod\n? [a]\n: b\n", false},
	"a null as key":         {"kind: Pod\n~: b\n", false},
	"not a number":          {"kind: Pod\nspec: [.nan]\n", false},
	"infinite":              {"kind: Pod\nspec: {a: -.inf}\n", false},
	"binary":                {"kind: Pod\nspec: !!binary /w==\n", true},
	"binary name":           {"metadata: {name: !!binary /w==}\n", false},
	"binary annotation":     {"metadata: {annotations: {a: !!binary /w==}}\n", false},
	"a time":                {"kind: Pod\nat: !!timestamp 2020-01-01\n", true},
	"empty":                 {"", false},
	"a comment":             {"# nothing\n", false},
	"a text":                {"just text\n", false},
	"a list":                {"- kind: Pod\n", false},
	"broken":                {"kind: Pod\n  a: b: c\n", false},
	"unclosed":              {"kind: {\n", false},
	"two documents":         {"kind: Pod\n---\nkind: {\n", true},
	"deep":                  {"kind: Pod\nx: " + strings.Repeat("[", 150) + strings.Repeat("]", 150) + "\n", false},
}

// TestHeadIsHelms holds the short way and Helm's together.
func TestHeadIsHelms(t *testing.T) {
	for name, c := range heads {
		t.Run(name, func(t *testing.T) { sameHead(t, c.content) })
		var tree any
		ok := yamlv2.Unmarshal([]byte(c.content), &tree) == nil
		if ok {
			_, ok = plainHead(tree)
		}
		if ok != c.plain {
			t.Errorf("%s: the short way is taken: %v, want %v", name, ok, c.plain)
		}
	}
}

func FuzzHeadIsHelms(f *testing.F) {
	for _, c := range heads {
		f.Add(c.content)
	}
	f.Fuzz(sameHead)
}

func sameHead(t *testing.T, content string) {
	t.Helper()
	var want releaseutil.SimpleHead
	wantErr := yaml.Unmarshal([]byte(content), &want)
	got, gotErr := readHead(content)
	if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%q: error %v, want %v", content, gotErr, wantErr)
	}
	if gotErr == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %+v, want %+v", content, got, want)
	}
}
