// Package delivered is what the engine remembers of the manifests that were
// handed to delivery: enough for the next plan to say what would change.
package delivered

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/render"
)

// schema is the version of the state's format. A state of another version is
// an error: guessing at it would show a wrong plan.
const schema = 1

// State is what the engine remembers.
type State struct {
	Release      string
	Namespace    string
	ChartName    string
	ChartVersion string
	// Objects that were delivered, or nil with Digests when they were too many
	// to remember.
	Objects []Object
	// Digests of the objects' texts.
	Digests []string

	salt []byte
}

// plainBytes is up to where manifests are remembered as they are. A compressor
// takes a megabyte of memory to start, a tenth of the time of a small rendering.
const plainBytes = 64 << 10

// digestPrefix begins the text of an object of which only a digest is kept. It
// is a YAML scalar, and so no Kubernetes object.
const digestPrefix = "sha256:"

// Object is one Kubernetes object of a rendering, or a file of CRDs. In a Secret's text each value
// is replaced by a keyed digest: a state shall not hold what the cluster hides.
type Object struct {
	Source string `json:"s"`
	Text   string `json:"t"`
	Secret bool   `json:"x,omitempty"`
}

type document struct {
	Schema       int      `json:"schema"`
	Release      string   `json:"release"`
	Namespace    string   `json:"namespace"`
	ChartName    string   `json:"chart"`
	ChartVersion string   `json:"chartVersion"`
	Count        int      `json:"objects"`
	Salt         []byte   `json:"salt"`
	Plain        []Object `json:"manifests,omitempty"`
	Compressed   string   `json:"manifestsGzip,omitempty"`
	Digests      []string `json:"digests,omitempty"`
}

// New remembers documents. The salt of before, if there is a state before, is
// kept, so that values of Secrets can be compared.
func New(release, namespace, chartName, chartVersion string, documents []render.Document, before *State) (*State, error) {
	s := &State{Release: release, Namespace: namespace, ChartName: chartName, ChartVersion: chartVersion}
	if before != nil {
		s.salt = before.salt
	} else {
		s.salt = make([]byte, sha256.Size)
		rand.Read(s.salt)
	}
	for _, d := range documents {
		object, err := s.object(d)
		if err != nil {
			return nil, err
		}
		s.Objects = append(s.Objects, object)
	}
	return s, nil
}

func (s *State) object(d render.Document) (Object, error) {
	switch {
	case d.CRD:
		// Of a CRD file a digest is enough. They are megabytes, they come from
		// the chart as they are, and what a user wants to know is which one
		// another version of the chart brings.
		return Object{Source: d.Source, Text: digestPrefix + Digest(d.Content)}, nil
	case d.Kind != "Secret":
		return Object{Source: d.Source, Text: d.Content}, nil
	}
	var body map[string]any
	if err := yaml.Unmarshal([]byte(d.Content), &body); err != nil {
		return Object{}, fmt.Errorf("%s: %w", d.Source, err)
	}
	for _, field := range []string{"data", "stringData"} {
		values, ok := body[field].(map[string]any)
		if !ok {
			continue
		}
		for key, value := range values {
			values[key] = s.hidden(field, key, value)
		}
	}
	hidden, err := yaml.Marshal(body)
	if err != nil {
		return Object{}, fmt.Errorf("%s: %w", d.Source, err)
	}
	return Object{Source: d.Source, Text: string(hidden), Secret: true}, nil
}

func (s *State) hidden(field, key string, value any) string {
	mac := hmac.New(sha256.New, s.salt)
	fmt.Fprintf(mac, "%s\x00%s\x00%v", field, key, value)
	return "hidden:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// Digest of a text, to compare objects that are remembered by it.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// Encode writes the state as JSON.
func (s *State) Encode() (json.RawMessage, error) {
	d := document{
		Schema: schema, Release: s.Release, Namespace: s.Namespace, ChartName: s.ChartName,
		ChartVersion: s.ChartVersion, Count: len(s.Objects), Salt: s.salt,
	}
	if size(s.Objects) <= plainBytes {
		d.Plain = s.Objects
		return json.Marshal(d)
	}
	packed, err := pack(s.Objects)
	if err != nil {
		return nil, err
	}
	if len(packed) <= limits.StateBytes {
		d.Compressed = packed
	} else {
		for _, o := range s.Objects {
			d.Digests = append(d.Digests, Digest(o.Text))
		}
	}
	return json.Marshal(d)
}

func size(objects []Object) int {
	total := 0
	for _, o := range objects {
		total += len(o.Source) + len(o.Text)
	}
	return total
}

// Decode reads what Encode wrote. No state, `null` or `{}`, is nil.
func Decode(state json.RawMessage) (*State, error) {
	var d document
	if len(state) == 0 || string(state) == "null" {
		return nil, nil
	}
	if err := json.Unmarshal(state, &d); err != nil {
		return nil, fmt.Errorf("the recorded state cannot be read: %w", err)
	}
	switch d.Schema {
	case 0:
		return nil, nil
	case schema:
	default:
		return nil, fmt.Errorf("the recorded state has format %d, this engine writes %d; use the engine version that wrote it", d.Schema, schema)
	}
	s := &State{
		Release: d.Release, Namespace: d.Namespace, ChartName: d.ChartName,
		ChartVersion: d.ChartVersion, Objects: d.Plain, Digests: d.Digests, salt: d.Salt,
	}
	if d.Compressed != "" {
		objects, err := unpack(d.Compressed)
		if err != nil {
			return nil, fmt.Errorf("the recorded state cannot be read: %w", err)
		}
		s.Objects = objects
	}
	return s, nil
}

func pack(objects []Object) (string, error) {
	var b bytes.Buffer
	encoder := base64.NewEncoder(base64.StdEncoding, &b)
	// Speed matters more than the last tenth of size: this is on the path of
	// every rendering.
	z, err := gzip.NewWriterLevel(encoder, gzip.BestSpeed)
	if err != nil {
		return "", err
	}
	e := json.NewEncoder(z)
	e.SetEscapeHTML(false)
	if err := e.Encode(objects); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	if err := encoder.Close(); err != nil {
		return "", err
	}
	return b.String(), nil
}

func unpack(packed string) ([]Object, error) {
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)))
	if err != nil {
		return nil, err
	}
	// A state comes back from the host's store; the bound is against one that
	// was tampered with.
	content, err := io.ReadAll(io.LimitReader(z, 2*limits.RenderedBytes))
	if err != nil {
		return nil, err
	}
	var objects []Object
	return objects, json.Unmarshal(content, &objects)
}
