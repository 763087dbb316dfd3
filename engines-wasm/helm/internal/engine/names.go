package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
)

const (
	// maxReleaseName is Helm's: names of objects are made from it.
	maxReleaseName = 53
	// maxNamespace is Kubernetes': a DNS label.
	maxNamespace = 63
)

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	notInDNSName = regexp.MustCompile(`[^a-z0-9]+`)
)

// releaseName is what the section says, or deployment and resource joined. It
// must not change between revisions: Helm's names of objects are made from it.
func releaseName(text string, ctx nestor.Context, resource string) (string, error) {
	if text == "" {
		return defaultReleaseName(ctx.Deployment, resource), nil
	}
	name, err := evaluate("releaseName", text, ctx, resource)
	if err != nil {
		return "", err
	}
	if err := chartutil.ValidateReleaseName(name); err != nil {
		return "", fmt.Errorf("helm section, /releaseName: %q: %w", name, err)
	}
	return name, nil
}

func namespaceName(text, setting string, ctx nestor.Context, resource string) (string, error) {
	name := "default"
	if setting != "" {
		name = setting
	}
	if text != "" {
		var err error
		if name, err = evaluate("namespace", text, ctx, resource); err != nil {
			return "", err
		}
	}
	if !dnsLabel.MatchString(name) || len(name) > maxNamespace {
		return "", fmt.Errorf("namespace %q is not a DNS label of at most %d characters", name, maxNamespace)
	}
	return name, nil
}

// evaluate runs a template of the section with Helm's functions, without those
// that read the environment, the clock or randomness: a name shall stay.
func evaluate(field, text string, ctx nestor.Context, resource string) (string, error) {
	if !strings.Contains(text, "{{") {
		// Setting up the functions takes a twentieth of a small rendering.
		return strings.TrimSpace(text), nil
	}
	t, err := template.New(field).Option("missingkey=error").Funcs(sprig.HermeticTxtFuncMap()).Parse(text)
	if err != nil {
		return "", fmt.Errorf("helm section, /%s: %w", field, err)
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"deployment": ctx.Deployment, "resource": resource,
		"environment": ctx.Environment, "composer": ctx.Composer,
	})
	if err != nil {
		return "", fmt.Errorf("helm section, /%s: %w", field, err)
	}
	return strings.TrimSpace(b.String()), nil
}

// defaultReleaseName joins the two to a DNS label that no other deployment and
// resource get. A digest keeps names apart where joining loses something: when
// characters were replaced or cut, and when the resource has a hyphen of its
// own ("shop" with "web-api" is not "shop-web" with "api").
func defaultReleaseName(deployment, resource string) string {
	joined := deployment + "-" + resource
	name := strings.Trim(notInDNSName.ReplaceAllString(strings.ToLower(joined), "-"), "-")
	if name == joined && len(name) <= maxReleaseName && !strings.Contains(resource, "-") {
		return name
	}
	sum := sha256.Sum256([]byte(deployment + "\x00" + resource))
	suffix := "-" + hex.EncodeToString(sum[:4])
	if len(name) > maxReleaseName-len(suffix) {
		name = strings.Trim(name[:maxReleaseName-len(suffix)], "-")
	}
	if name == "" {
		name = "r"
	}
	return name + suffix
}
