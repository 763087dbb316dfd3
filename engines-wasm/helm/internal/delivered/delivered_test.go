package delivered

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/render"
)

// text is noise that does not compress well, of n bytes.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		b.WriteString(hex.EncodeToString(sum[:]))
	}
	return b.String()[:n]
}

// A state comes back as it was, in each of the three forms.
func TestStatesComeBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		bytes   int
		form    string
		digests bool
	}{
		{"plain", 1 << 10, `"manifests":[`, false},
		{"compressed", plainBytes + 1, `"manifestsGzip":"`, false},
		{"digests", 4 << 20, `"digests":[`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := "kind: A\n# " + text(c.bytes)
			s, err := New("r", "n", "c", "1.0.0", []render.Document{
				{Source: "c/a.yaml", Kind: "A", Content: content},
				{Source: "c/b.yaml", Kind: "Secret", Content: "kind: Secret\nstringData: {password: hunter2}\ndata: {n: 5}\n"},
				{Source: "c/crds/c.yaml", CRD: true, Content: "kind: CustomResourceDefinition\n"},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(encoded), c.form) || strings.Contains(string(encoded), "hunter2") {
				t.Errorf("%.200s is not of the form %s, or holds a secret", encoded, c.form)
			}
			back, err := Decode(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if c.digests {
				if len(back.Digests) != 3 || back.Digests[0] != Digest(content) {
					t.Errorf("got digests %v", back.Digests)
				}
				return
			}
			if fmt.Sprint(back.Objects) != fmt.Sprint(s.Objects) || back.Release != "r" || back.Namespace != "n" || back.ChartVersion != "1.0.0" {
				t.Error("the state came back as another one")
			}
			again, err := New("r", "n", "c", "1.0.0", []render.Document{{Source: "c/b.yaml", Kind: "Secret", Content: "kind: Secret\nstringData: {password: hunter2}\ndata: {n: 5}\n"}}, back)
			if err != nil {
				t.Fatal(err)
			}
			if again.Objects[0].Text != back.Objects[1].Text {
				t.Error("an unchanged secret looks changed")
			}
		})
	}
}
