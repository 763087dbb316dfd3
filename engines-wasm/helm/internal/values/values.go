// Package values decides which values a chart gets: the definition's, the
// environment's over them, the resource's config over both. What the chart
// itself brings lies below all of them and is Helm's business.
package values

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/section"
)

// Inputs are the sources of a chart's values, read and checked.
type Inputs struct {
	base       map[string]any
	config     map[string]any
	configPath []string
	mappings   []section.Mapping
	unknowns   []Unknown
}

// Unknown is a value of the config that does not exist yet.
type Unknown struct {
	// Pointer is a JSON pointer into the config.
	Pointer string
	// Type is the JSON type that it will have.
	Type string
}

// Read reads config and the values that s names; file answers a file below the
// definition's folder.
func Read(s *section.Section, config json.RawMessage, file func(string) ([]byte, bool)) (*Inputs, error) {
	in := &Inputs{base: map[string]any{}, configPath: s.ConfigPath, mappings: s.ValuesFrom}
	for _, layer := range s.Layers {
		for _, name := range layer.Files {
			content, ok := file(name)
			if !ok {
				return nil, fmt.Errorf("values file %s of %s is not in the definition's folder", name, layer.Where)
			}
			read, err := loader.LoadValues(bytes.NewReader(content))
			if err != nil {
				return nil, fmt.Errorf("values file %s: %w", name, err)
			}
			in.base = loader.MergeMaps(in.base, read)
		}
		read, err := object(layer.Values)
		if err != nil {
			return nil, fmt.Errorf("values of %s: %w", layer.Where, err)
		}
		in.base = loader.MergeMaps(in.base, read)
	}
	var err error
	if in.config, err = object(config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	in.unknowns = findUnknowns(in.config, nil, nil)
	return in, nil
}

func object(document json.RawMessage) (map[string]any, error) {
	if len(document) > limits.ValuesBytes {
		return nil, fmt.Errorf("%d bytes are more than the limit of %d", len(document), limits.ValuesBytes)
	}
	read := map[string]any{}
	if len(document) == 0 || string(document) == "null" {
		return read, nil
	}
	if err := json.Unmarshal(document, &read); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if tooDeep(read, limits.ValuesDepth) {
		return nil, fmt.Errorf("nested more than %d levels deep", limits.ValuesDepth)
	}
	return read, nil
}

func tooDeep(v any, left int) bool {
	if left == 0 {
		return true
	}
	switch t := v.(type) {
	case map[string]any:
		for _, child := range t {
			if tooDeep(child, left-1) {
				return true
			}
		}
	case []any:
		for _, child := range t {
			if tooDeep(child, left-1) {
				return true
			}
		}
	}
	return false
}

// Unknowns are the values of the config that do not exist yet, in the order of
// their pointers.
func (in *Inputs) Unknowns() []Unknown { return in.unknowns }

// Values composes the values anew; nothing in them is shared with another
// call's. Where a value does not exist yet, a placeholder of variant stands.
func (in *Inputs) Values(variant Variant) map[string]any {
	config, _ := withPlaceholders(in.config, variant).(map[string]any)
	values := loader.MergeMaps(map[string]any{}, clone(in.base).(map[string]any))
	var taken []map[string]any
	for _, m := range in.mappings {
		value, found := lookup(config, tokens(m.Pointer))
		if in.below(m.Pointer) && !found {
			value, found = placeholder("string", variant), true
		}
		if found {
			taken = append(taken, nested(m.Key, clone(value)))
		}
	}
	for _, m := range in.mappings {
		remove(config, tokens(m.Pointer))
	}
	if len(config) > 0 {
		values = loader.MergeMaps(values, nested(in.configPath, config))
	}
	for _, t := range taken {
		values = loader.MergeMaps(values, t)
	}
	return values
}

// ConfigPointer answers where in the config the value at path comes from; not
// ok when it comes from elsewhere.
func (in *Inputs) ConfigPointer(path []string) (pointer string, ok bool) {
	for _, m := range in.mappings {
		if hasPrefix(path, m.Key) {
			if _, found := lookup(in.config, tokens(m.Pointer)); found {
				return m.Pointer + Pointer(path[len(m.Key):]), true
			}
		}
	}
	if len(path) == 0 {
		return "", true
	}
	if !hasPrefix(path, in.configPath) {
		return "", false
	}
	rest := path[len(in.configPath):]
	if _, found := lookup(in.config, rest); found || in.below(Pointer(rest)) {
		return Pointer(rest), true
	}
	return "", false
}

// DependsOnUnknown says whether the value at path is one that does not exist
// yet, or lies below one.
func (in *Inputs) DependsOnUnknown(path []string) bool {
	for _, m := range in.mappings {
		if hasPrefix(path, m.Key) && in.below(m.Pointer+Pointer(path[len(m.Key):])) {
			return true
		}
	}
	return hasPrefix(path, in.configPath) && in.below(Pointer(path[len(in.configPath):]))
}

// below says whether pointer is an unknown value or lies in one.
func (in *Inputs) below(pointer string) bool {
	return slices.ContainsFunc(in.unknowns, func(u Unknown) bool {
		return pointer == u.Pointer || strings.HasPrefix(pointer, u.Pointer+"/")
	})
}

func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

// Pointer writes path as a JSON pointer.
func Pointer(path []string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return b.String()
}

func tokens(pointer string) []string {
	if pointer == "" {
		return nil
	}
	parts := strings.Split(pointer[1:], "/")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
	}
	return parts
}

// Lookup follows a JSON pointer.
func Lookup(v any, pointer string) (any, bool) { return lookup(v, tokens(pointer)) }

func lookup(v any, path []string) (any, bool) {
	for _, part := range path {
		switch t := v.(type) {
		case map[string]any:
			child, ok := t[part]
			if !ok {
				return nil, false
			}
			v = child
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(t) || strconv.Itoa(i) != part {
				return nil, false
			}
			v = t[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// remove takes the key at path out, and objects that are empty then.
func remove(m map[string]any, path []string) {
	if len(path) == 1 {
		delete(m, path[0])
		return
	}
	child, ok := m[path[0]].(map[string]any)
	if !ok {
		return
	}
	remove(child, path[1:])
	if len(child) == 0 {
		delete(m, path[0])
	}
}

func nested(path []string, v any) map[string]any {
	for _, part := range slices.Backward(path) {
		v = map[string]any{part: v}
	}
	m, _ := v.(map[string]any)
	return m
}

func clone(v any) any {
	switch t := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(t))
		for k, child := range t {
			c[k] = clone(child)
		}
		return c
	case []any:
		c := make([]any, len(t))
		for i, child := range t {
			c[i] = clone(child)
		}
		return c
	default:
		return v
	}
}

func findUnknowns(v any, path []string, found []Unknown) []Unknown {
	switch t := v.(type) {
	case map[string]any:
		if jsonType, ok := unknownType(t); ok {
			return append(found, Unknown{Pointer(path), jsonType})
		}
		for _, key := range slices.Sorted(maps.Keys(t)) {
			found = findUnknowns(t[key], append(slices.Clone(path), key), found)
		}
	case []any:
		for i, child := range t {
			found = findUnknowns(child, append(slices.Clone(path), strconv.Itoa(i)), found)
		}
	}
	return found
}
