package proposal

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Unknown is a value of a JSON type that is not known yet.
func Unknown(jsonType string) map[string]any { return map[string]any{"$unknown": jsonType} }

func isUnknown(v any) bool {
	m, ok := v.(map[string]any)
	_, unknown := m["$unknown"]
	return ok && unknown && len(m) == 1
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	default:
		return "number"
	}
}

// diff reports the smallest places in which b and a differ.
func diff(b, a any, path []string, report func(path []string, b, a any, hasB, hasA bool)) {
	if isUnknown(a) {
		report(path, b, a, true, true)
		return
	}
	switch bt := b.(type) {
	case map[string]any:
		if at, ok := a.(map[string]any); ok {
			keys := maps.Clone(bt)
			maps.Copy(keys, at)
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				bv, hasB := bt[key]
				av, hasA := at[key]
				child := append(slices.Clone(path), key)
				if hasB && hasA {
					diff(bv, av, child, report)
				} else {
					report(child, bv, av, hasB, hasA)
				}
			}
			return
		}
	case []any:
		// Lists of the same length are compared one by one, named elements
		// among them; of another length they are one difference, because what
		// moved where is a guess.
		if at, ok := a.([]any); ok && len(at) == len(bt) {
			for i := range bt {
				diff(bt[i], at[i], append(slices.Clone(path), strconv.Itoa(i)), report)
			}
			return
		}
	}
	if !reflect.DeepEqual(b, a) {
		report(path, b, a, true, true)
	}
}

// overlay marks in the objects of the first rendering what the second has
// otherwise.
func overlay(first, second []object) []object {
	others := map[string]object{}
	for _, o := range second {
		others[o.key] = o
	}
	marked := make([]object, 0, len(first))
	for _, o := range first {
		other, ok := others[o.key]
		delete(others, o.key)
		if ok {
			o.body = mark(o.body, other.body)
		} else {
			o.possible = true
		}
		marked = append(marked, o)
	}
	for _, o := range second {
		if _, ok := others[o.key]; ok {
			o.possible = true
			marked = append(marked, o)
		}
	}
	return marked
}

func mark(a, b any) any {
	switch at := a.(type) {
	case map[string]any:
		bt, ok := b.(map[string]any)
		if !ok {
			break
		}
		marked := map[string]any{}
		for key, av := range at {
			if bv, ok := bt[key]; ok {
				marked[key] = mark(av, bv)
			} else {
				marked[key] = Unknown(typeOf(av))
			}
		}
		for key, bv := range bt {
			if _, ok := at[key]; !ok {
				marked[key] = Unknown(typeOf(bv))
			}
		}
		return marked
	case []any:
		bt, ok := b.([]any)
		if !ok || len(at) != len(bt) {
			break
		}
		marked := make([]any, len(at))
		for i := range at {
			marked[i] = mark(at[i], bt[i])
		}
		return marked
	}
	if reflect.DeepEqual(a, b) {
		return a
	}
	return Unknown(typeOf(a))
}

func hide(v any, has bool) any {
	if !has {
		return nil
	}
	if isUnknown(v) {
		return v
	}
	return "(sensitive)"
}

// shown is an object as a change shows it: without what the cluster hides.
func shown(o object) any {
	if !o.secret {
		return o.body
	}
	body, ok := o.body.(map[string]any)
	if !ok {
		return o.body
	}
	copied := maps.Clone(body)
	for _, field := range []string{"data", "stringData"} {
		values, ok := copied[field].(map[string]any)
		if !ok {
			continue
		}
		hidden := map[string]any{}
		for key, value := range values {
			hidden[key] = hide(value, true)
		}
		copied[field] = hidden
	}
	return copied
}

func pointer(path []string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return b.String()
}
