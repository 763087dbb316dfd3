package values

import nestor "github.com/nestor-platform/orchestrator/sdk/go"

// Variant chooses among two sets of placeholders. What a chart makes of a value
// that does not exist yet shows in how its renderings with the two differ,
// however indirectly: through a checksum, a condition, a default.
type Variant int

// The two variants.
const (
	First Variant = iota
	Second
)

func unknownType(m map[string]any) (string, bool) { return nestor.Unknown(m) }

// placeholder is a value of the type, different in each variant, harmless where
// charts use such values: a text is a DNS label, a number a small port.
func placeholder(jsonType string, variant Variant) any {
	second := variant == Second
	switch jsonType {
	case "boolean":
		return second
	case "integer", "number":
		if second {
			return float64(1002)
		}
		return float64(1001)
	case "array":
		if second {
			return []any{"known-after-apply"}
		}
		return []any{}
	case "object":
		if second {
			return map[string]any{"known-after-apply": "known-after-apply"}
		}
		return map[string]any{}
	default:
		if second {
			return "known-later-on"
		}
		return "known-after-apply"
	}
}

func withPlaceholders(v any, variant Variant) any {
	switch t := v.(type) {
	case map[string]any:
		if jsonType, ok := unknownType(t); ok {
			return placeholder(jsonType, variant)
		}
		c := make(map[string]any, len(t))
		for k, child := range t {
			c[k] = withPlaceholders(child, variant)
		}
		return c
	case []any:
		c := make([]any, len(t))
		for i, child := range t {
			c[i] = withPlaceholders(child, variant)
		}
		return c
	default:
		return v
	}
}
