package render

import (
	"math"
	"strings"
	"unicode/utf8"

	yamlv2 "go.yaml.in/yaml/v2"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"
)

// maxPlainDepth is deeper than any manifest; what is deeper goes Helm's way.
const maxPlainDepth = 100

// readHead reads what Helm reads of a document, and answers the error that Helm
// would. Helm reads YAML, writes all of it as JSON, and reads that again, which
// is a third of the time; where nothing in the document can fail or change on
// that way, and nothing of the head needs a conversion, it is left out.
func readHead(content string) (releaseutil.SimpleHead, error) {
	var tree any
	if err := yamlv2.Unmarshal([]byte(content), &tree); err == nil {
		if head, ok := plainHead(tree); ok {
			return head, nil
		}
	}
	var head releaseutil.SimpleHead
	err := yaml.Unmarshal([]byte(content), &head)
	return head, err
}

// plainHead is not ok when Helm's way may end elsewhere.
func plainHead(tree any) (head releaseutil.SimpleHead, ok bool) {
	root, isMap := tree.(map[any]any)
	if !isMap || !writable(tree, maxPlainDepth) {
		return head, false
	}
	if !plainText(root, "apiVersion", &head.Version) || !plainText(root, "kind", &head.Kind) || !only(root, "metadata") {
		return head, false
	}
	under, has := root["metadata"]
	if !has {
		return head, true
	}
	metadata, isMap := under.(map[any]any)
	if !isMap {
		return head, false
	}
	// The type is Helm's, which gives it no name.
	head.Metadata = &struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	}{}
	if !plainText(metadata, "name", &head.Metadata.Name) || !only(metadata, "annotations") {
		return head, false
	}
	under, has = metadata["annotations"]
	if !has {
		return head, true
	}
	annotations, isMap := under.(map[any]any)
	if !isMap {
		return head, false
	}
	head.Metadata.Annotations = make(map[string]string, len(annotations))
	for key := range annotations {
		// writable saw that it is text.
		name, _ := key.(string)
		var value string
		if !utf8.ValidString(name) || !text(annotations[key], &value) {
			return head, false
		}
		head.Metadata.Annotations[name] = value
	}
	return head, true
}

// plainText reads the text of a key, if it is there.
func plainText(from map[any]any, key string, into *string) bool {
	if !only(from, key) {
		return false
	}
	value, has := from[key]
	return !has || text(value, into)
}

func text(value any, into *string) bool {
	s, isText := value.(string)
	*into = s
	return isText && utf8.ValidString(s)
}

// only says that no key reads as key in JSON, where upper and lower case are
// the same, but key itself.
func only(from map[any]any, key string) bool {
	for other := range from {
		name, _ := other.(string)
		if name != key && strings.EqualFold(name, key) {
			return false
		}
	}
	return true
}

// writable says that all of it can be written as JSON, and that no two keys of
// an object become one.
func writable(value any, depth int) bool {
	if depth == 0 {
		return false
	}
	switch v := value.(type) {
	case nil, bool, string, int, int64, uint64:
		return true
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case []any:
		for _, element := range v {
			if !writable(element, depth-1) {
				return false
			}
		}
		return true
	case map[any]any:
		for key, element := range v {
			if _, isText := key.(string); !isText || !writable(element, depth-1) {
				return false
			}
		}
		return true
	default:
		return false
	}
}
