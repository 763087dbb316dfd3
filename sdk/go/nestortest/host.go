// Package nestortest stands in for the host when an engine's logic is tested
// natively.
package nestortest

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
)

// LogLine is a line that the engine logged.
type LogLine struct {
	Level   nestor.Level
	Message string
	Fields  map[string]any
}

// Host is a host in memory. Fill its fields before the call, read them after.
type Host struct {
	// Files of the catalog definition's folder, by path.
	Files map[string]string
	// Secrets are the names that are granted.
	Secrets map[string]bool
	// Values of the durable map.
	Values map[string][]byte
	// Logs in the order they were written.
	Logs []LogLine
	// Tools run in place of granted tools, by name.
	Tools map[string]func(nestor.Invocation) (lines []nestor.Line, code int)
}

var _ nestor.Host = (*Host)(nil)

// New makes a host and puts it in place for the rest of the test. Tests that
// use it cannot run in parallel with each other.
func New(t testing.TB) *Host {
	t.Helper()
	h := &Host{
		Files:   map[string]string{},
		Secrets: map[string]bool{},
		Values:  map[string][]byte{},
		Tools:   map[string]func(nestor.Invocation) ([]nestor.Line, int){},
	}
	t.Cleanup(nestor.UseHost(h))
	return h
}

// Log records the line.
func (h *Host) Log(level nestor.Level, message string, fields map[string]any) {
	h.Logs = append(h.Logs, LogLine{level, message, fields})
}

// Progress is ignored.
func (h *Host) Progress(*uint8, string) {}

// DefinitionFiles answers from Files.
func (h *Host) DefinitionFiles(under string) ([]nestor.File, error) {
	prefix := ""
	if under != "" {
		prefix = strings.TrimSuffix(under, "/") + "/"
	}
	var files []nestor.File
	for path, content := range h.Files {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			files = append(files, nestor.File{Path: rest, Content: []byte(content)})
		}
	}
	if len(files) == 0 && under != "" {
		return nil, fmt.Errorf("no folder %q in the definition", under)
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	return files, nil
}

// SecretReference answers a placeholder for a granted name.
func (h *Host) SecretReference(name string) (string, error) {
	if !h.Secrets[name] {
		return "", nestor.Denied(fmt.Sprintf("secret %q is not granted", name))
	}
	return "placeholder:" + name, nil
}

// StoreGet reads from Values.
func (h *Host) StoreGet(key string) ([]byte, bool, error) {
	v, ok := h.Values[key]
	return v, ok, nil
}

// StorePut writes to Values.
func (h *Host) StorePut(key string, value []byte) error {
	h.Values[key] = append([]byte(nil), value...)
	return nil
}

// StoreDelete removes from Values.
func (h *Host) StoreDelete(key string) error {
	delete(h.Values, key)
	return nil
}

// StoreKeys lists Values, sorted.
func (h *Host) StoreKeys(prefix string) ([]string, error) {
	var keys []string
	for k := range h.Values {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys, nil
}

// Spawn runs the function in Tools.
func (h *Host) Spawn(i nestor.Invocation) (nestor.Child, error) {
	run, ok := h.Tools[i.Tool]
	if !ok {
		return nil, nestor.Denied(fmt.Sprintf("tool %q is not granted", i.Tool))
	}
	lines, code := run(i)
	return &child{lines, code}, nil
}

type child struct {
	lines []nestor.Line
	code  int
}

func (c *child) NextLine() (nestor.Line, bool) {
	if len(c.lines) == 0 {
		return nestor.Line{}, false
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	return line, true
}

func (c *child) Wait() (int, error) { return c.code, nil }
func (c *child) Kill()              {}
func (c *child) Close()             {}
