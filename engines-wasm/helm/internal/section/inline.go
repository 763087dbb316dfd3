package section

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"sort"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/chartsource"
)

// InlineFiles are the files of the chart that the section writes out. A
// Chart.yaml that is not among them is made from the definition's reference
// ("web-service:1.0.0").
func (s *Section) InlineFiles(catalogRef string) ([]chartsource.File, error) {
	files := make([]chartsource.File, 0, len(s.Inline)+1)
	for name, content := range s.Inline {
		text, err := inlineContent(name, content)
		if err != nil {
			return nil, fmt.Errorf("helm section, /inline/files, %s: %w", name, err)
		}
		files = append(files, chartsource.File{Path: name, Content: text})
	}
	if _, ok := s.Inline["Chart.yaml"]; !ok {
		files = append(files, chartsource.File{Path: "Chart.yaml", Content: chartYAML(catalogRef)})
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	return files, nil
}

func inlineContent(name string, content json.RawMessage) ([]byte, error) {
	var text string
	if err := json.Unmarshal(content, &text); err == nil {
		return []byte(text), nil
	}
	switch path.Ext(name) {
	case ".json":
		return content, nil
	case ".yaml", ".yml", ".lock":
		return yaml.JSONToYAML(content)
	default:
		return nil, fmt.Errorf("a document is only possible for .yaml and .json files; write it as text")
	}
}

var notInChartName = regexp.MustCompile(`[^a-z0-9-]+`)

func chartYAML(catalogRef string) []byte {
	name, version, _ := strings.Cut(catalogRef, ":")
	name = strings.Trim(notInChartName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if name == "" {
		name = "inline"
	}
	if v, err := semver.StrictNewVersion(version); err == nil {
		version = v.String()
	} else {
		version = "0.1.0"
	}
	return fmt.Appendf(nil, "apiVersion: v2\nname: %s\nversion: %s\n", name, version)
}
