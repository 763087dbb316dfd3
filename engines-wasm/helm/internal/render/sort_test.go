package render

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// theirs is what Helm's own code answers, in the form of ours.
func theirs(files map[string]string) string {
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, h := range hooks {
		fmt.Fprintf(&b, "hook %s %q %q %q %q\n", h.Path, h.Manifest, h.Kind, h.Name, h.Events)
	}
	for _, m := range manifests {
		fmt.Fprintf(&b, "manifest %s %q %+v\n", m.Name, m.Content, m.Head.Kind)
	}
	return b.String()
}

func ours(files map[string]string) string {
	hooks, manifests, err := sortManifests(files)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, h := range hooks {
		p := h.public(true)
		fmt.Fprintf(&b, "hook %s %q %q %q %q\n", p.Source, p.Content, p.Kind, p.Name, h.events)
	}
	for _, m := range manifests {
		fmt.Fprintf(&b, "manifest %s %q %+v\n", m.source, m.content, m.head.Kind)
	}
	return b.String()
}

// Pieces from which files are put together, odd ones among them.
var pieces = []string{
	"---", "--- ", "---\t \n", "\n---", "\n\n---\n", "----", "\n----\n", "\r\n---\r\n", " ---", "\n ---\n", "--", "\n--", "---\n---\n",
	"\n", " ", "\t", "\r\n", "\u00a0", "\u2028", "# comment\n", "#---\n",
	"kind: Pod\n", "kind: Service\n", "kind: Zebra\n", "kind: Aardvark\n", "kind: Namespace\n", "kind: \"\"\n", "apiVersion: v1\n", "apiVersion: 1\n",
	"metadata: {name: a}\n", "metadata: {name: 7}\n", "metadata: null\n", "metadata: []\n", "metadata:\n  name: b\n  annotations:\n    helm.sh/hook: pre-install\n",
	"metadata: {annotations: {helm.sh/hook: \"test-success, POST-DELETE\"}}\n", "metadata: {annotations: {helm.sh/hook: crd-install}}\n",
	"metadata: {annotations: {helm.sh/hook: \"\"}}\n", "metadata: {annotations: {x: 1}}\n", "metadata: {annotations: null}\n", "metadata: {annotations: {}}\n",
	"data: |\n  a\n  ---\n", "data: |\n---\n", "x: [\n", "x: \"\n", "- a\n", "text\n", "{\"kind\": \"List\"}\n", "kind: Pod\nkind: Job\n", "&a x: *a\n", "\x00", "\xff", "é: ü\n", "...\n",
}

// Files of any kind are split, told apart and ordered as Helm does.
func TestSortIsHelms(t *testing.T) {
	sorted := 0
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 0))
		files := map[string]string{}
		for range 1 + r.IntN(3) {
			name := []string{"c/templates/a.yaml", "c/templates/b.yaml", "c/templates/_p.yaml", "c/charts/d/templates/a.yaml", "c/templates/a.txt"}[r.IntN(5)]
			var b strings.Builder
			for range r.IntN(9) {
				b.WriteString(pieces[r.IntN(len(pieces))])
				// Half of them separated, else hardly any would be YAML.
				if seed%2 == 0 {
					b.WriteString("\n---\n")
				}
			}
			files[name] = b.String()
		}
		if got, want := ours(files), theirs(files); got != want {
			t.Fatalf("seed %d: %q\nours:\n%s\nHelm's:\n%s", seed, files, got, want)
		} else if strings.Count(got, "\n") > 1 && !strings.HasPrefix(got, "YAML") {
			sorted++
		}
	}
	if sorted < 2_000 {
		t.Errorf("only %d of the files were YAML of several documents", sorted)
	}
}
