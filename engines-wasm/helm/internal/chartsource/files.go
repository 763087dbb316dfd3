// Package chartsource turns the files of a catalog definition into a chart,
// the way that the helm command turns a folder or an archive into one.
package chartsource

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
)

// File is one file of a chart, with a path relative to the chart's folder.
type File struct {
	Path    string
	Content []byte
}

// FromFolder loads a chart from the files of its folder. The folder's
// .helmignore counts, as it does for the helm command.
func FromFolder(files []File) (*chart.Chart, error) {
	if err := bounded(files); err != nil {
		return nil, err
	}
	kept, err := notIgnored(files)
	if err != nil {
		return nil, err
	}
	return load(kept)
}

// FromArchive loads a chart from a .tgz as `helm package` makes it.
func FromArchive(content []byte) (*chart.Chart, error) {
	buffered, err := archive.LoadArchiveFiles(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("not a chart archive: %w", err)
	}
	files := make([]File, len(buffered))
	for i, f := range buffered {
		files[i] = File{f.Name, f.Data}
	}
	if err := bounded(files); err != nil {
		return nil, err
	}
	return load(files)
}

func bounded(files []File) error {
	if len(files) > limits.ChartFiles {
		return fmt.Errorf("the chart has %d files, more than %d", len(files), limits.ChartFiles)
	}
	total := 0
	for _, f := range files {
		total += len(f.Content)
	}
	if total > limits.ChartBytes {
		return fmt.Errorf("the chart's files are %d bytes together, more than %d", total, limits.ChartBytes)
	}
	return nil
}

var utf8bom = []byte{0xEF, 0xBB, 0xBF}

func load(files []File) (*chart.Chart, error) {
	buffered := make([]*archive.BufferedFile, len(files))
	for i, f := range files {
		buffered[i] = &archive.BufferedFile{Name: f.Path, Data: bytes.TrimPrefix(f.Content, utf8bom)}
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, err
	}
	// Charts of version 3 are an experiment that the helm command cannot
	// install yet; of others it has not heard.
	if v := c.Metadata.APIVersion; v != chart.APIVersionV1 && v != chart.APIVersionV2 {
		return nil, fmt.Errorf("Chart.yaml: unsupported chart apiVersion %q; v1 and v2 are supported", v)
	}
	return c, nil
}

// notIgnored drops what .helmignore excludes and sorts like a walk through the
// folder does, name by name. The order of files is visible: CRDs are listed
// in it.
func notIgnored(files []File) ([]File, error) {
	rules := ignore.Empty()
	for _, f := range files {
		if f.Path == ignore.HelmIgnore {
			parsed, err := ignore.Parse(bytes.NewReader(f.Content))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ignore.HelmIgnore, err)
			}
			rules = parsed
		}
	}
	rules.AddDefaults()

	ignoredFolders := map[string]bool{".": false}
	var folderIgnored func(string) bool
	folderIgnored = func(folder string) bool {
		if known, ok := ignoredFolders[folder]; ok {
			return known
		}
		ignored := folderIgnored(path.Dir(folder)) || rules.Ignore(folder, entry{path.Base(folder), true})
		ignoredFolders[folder] = ignored
		return ignored
	}

	kept := make([]File, 0, len(files))
	for _, f := range files {
		if !fs.ValidPath(f.Path) || f.Path == "." {
			return nil, fmt.Errorf("the chart has a file with the path %q", f.Path)
		}
		if folderIgnored(path.Dir(f.Path)) || rules.Ignore(f.Path, entry{path.Base(f.Path), false}) {
			continue
		}
		kept = append(kept, f)
	}
	sort.SliceStable(kept, func(i, j int) bool { return walksBefore(kept[i].Path, kept[j].Path) })
	return kept, nil
}

func walksBefore(a, b string) bool {
	for {
		aName, aRest, aMore := strings.Cut(a, "/")
		bName, bRest, bMore := strings.Cut(b, "/")
		if aName != bName {
			return aName < bName
		}
		if !aMore || !bMore {
			return !aMore && bMore
		}
		a, b = aRest, bRest
	}
}

// entry is the little that ignore rules ask of a file.
type entry struct {
	name   string
	folder bool
}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return 0 }
func (e entry) Mode() fs.FileMode  { return 0 }
func (e entry) ModTime() time.Time { return time.Time{} }
func (e entry) IsDir() bool        { return e.folder }
func (e entry) Sys() any           { return nil }
