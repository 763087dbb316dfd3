package render

import (
	"os"
	"regexp"
	"testing"
)

// The helm command learns its Kubernetes version from its build information.
// Ours is a constant, so that it is the same natively, in a test and in the
// sandbox; this holds it, and Helm's own version, to go.mod.
func TestVersionsAreThoseOfGoMod(t *testing.T) {
	content, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindSubmatch(content)
		if m == nil {
			t.Fatalf("go.mod has no %s", pattern)
		}
		return string(m[1])
	}
	if got, want := HelmVersion, find(`helm\.sh/helm/v4 (v\S+)`); got != want {
		t.Errorf("HelmVersion is %s, go.mod has %s", got, want)
	}
	minor := find(`k8s\.io/client-go v0\.(\d+)\.`)
	if want := "v1." + minor + ".0"; KubeVersion != want {
		t.Errorf("KubeVersion is %s, Helm's client is of %s", KubeVersion, want)
	}
}
