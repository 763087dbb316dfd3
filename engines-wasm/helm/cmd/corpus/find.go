package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// subject is one chart with one set of values.
type subject struct {
	name string
	// path of the chart's folder or archive.
	path string
	// values is a file for `helm template -f`, or empty.
	values string
}

// find lists the charts below folder: folders with a Chart.yaml and archives.
// What lies inside a chart belongs to that chart.
func find(folder string, ci bool) ([]subject, error) {
	var subjects []subject
	add := func(path string) error {
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if name == "." {
			name = filepath.Base(path)
		}
		subjects = append(subjects, subject{name: name, path: path})
		if !ci {
			return nil
		}
		values, err := filepath.Glob(filepath.Join(path, "ci", "*-values.yaml"))
		if err != nil {
			return err
		}
		sort.Strings(values)
		for _, v := range values {
			subjects = append(subjects, subject{name + " with ci/" + filepath.Base(v), path, v})
		}
		return nil
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if _, err := os.Stat(filepath.Join(path, "Chart.yaml")); err != nil {
				return nil
			}
			if err := add(path); err != nil {
				return err
			}
			return fs.SkipDir
		case strings.HasSuffix(path, ".tgz"):
			return add(path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for charts: %w", err)
	}
	return subjects, nil
}
