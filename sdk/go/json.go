package nestor

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Decode reads a document into a T, fields matched by their json tags, unknown
// fields ignored. The error is an [Invalid] that names what the document is.
func Decode[T any](document JSON, what string) (T, error) {
	var t T
	if len(document) == 0 {
		return t, nil
	}
	if err := json.Unmarshal(document, &t); err != nil {
		return t, Invalidf("", "%s: %v", what, err)
	}
	return t, nil
}

// Encode writes v as a document. It panics when v cannot be JSON (a channel, a
// function, a cycle), which is a mistake in the engine and becomes a [Failed].
func Encode(v any) JSON {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("nestor: cannot encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Unknown answers the JSON type of a value that does not exist yet, and whether
// v (decoded into any) is such a value. Plan meets them where a config refers
// to an output of a resource that was not applied yet.
func Unknown(v any) (jsonType string, unknown bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return "", false
	}
	jsonType, unknown = m["$unknown"].(string)
	return jsonType, unknown
}
