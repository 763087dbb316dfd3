package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/chartsource"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/render"
)

// renderer answers what `helm template` would print.
type renderer interface {
	render(subject) (string, error)
}

// inProcess is the engine's logic without the sandbox.
type inProcess struct{}

func (inProcess) render(s subject) (string, error) {
	c, err := load(s.path)
	if err != nil {
		return "", err
	}
	values, err := valuesOf(s)
	if err != nil {
		return "", err
	}
	result, err := render.Chart(context.Background(), c, values, render.Options{
		ReleaseName: releaseName, Namespace: namespace, IncludeCRDs: true,
	})
	if err != nil {
		return "", err
	}
	return result.Stream(), nil
}

func load(path string) (*chart.Chart, error) {
	if strings.HasSuffix(path, ".tgz") {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return chartsource.FromArchive(content)
	}
	var files []chartsource.File
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(path, file)
		if err != nil {
			return err
		}
		files = append(files, chartsource.File{Path: filepath.ToSlash(rel), Content: content})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return chartsource.FromFolder(files)
}

func valuesOf(s subject) (map[string]any, error) {
	if s.values == "" {
		return map[string]any{}, nil
	}
	content, err := os.ReadFile(s.values)
	if err != nil {
		return nil, err
	}
	return loader.LoadValues(bytes.NewReader(content))
}

// external is a command that renders through the sandbox.
type external []string

func (e external) render(s subject) (string, error) {
	out, err := os.MkdirTemp("", "nestor-corpus-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(out)
	values, err := valuesOf(s)
	if err != nil {
		return "", err
	}
	definition, chartPath := s.path, "."
	if strings.HasSuffix(s.path, ".tgz") {
		definition, chartPath = filepath.Split(s.path)
	}
	section, err := json.Marshal(map[string]any{
		"chart": chartPath, "releaseName": releaseName, "namespace": namespace, "values": values,
		"includeCRDs": true, "includeTests": true, "layout": "single",
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), helmTimeout)
	defer cancel()
	var stderr bytes.Buffer
	args := append(append([]string{}, e[1:]...), "--definition", definition, "--section", string(section), "--out", out)
	command := exec.CommandContext(ctx, e[0], args...)
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	content, err := os.ReadFile(filepath.Join(out, "manifests.yaml"))
	return string(content), err
}
