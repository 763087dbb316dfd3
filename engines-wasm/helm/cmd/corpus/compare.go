package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

type outcome string

const (
	equal       outcome = "equal"
	different   outcome = "different"
	failed      outcome = "failed"
	notRendered outcome = "skipped"
)

type verdict struct {
	outcome outcome
	detail  string
	// ours is what the engine rendered, if it did.
	ours string
}

const (
	releaseName = "release-name"
	namespace   = "default"

	// helmTimeout bounds one run of helm; the slowest chart seen takes 2 s.
	helmTimeout = 2 * time.Minute

	// attempts is how often both sides render before a difference counts. Helm
	// itself is not deterministic for charts with several subcharts (it walks
	// a map), random values or dates.
	attempts = 4
)

type comparison struct {
	helm string
	ours renderer
}

func (c comparison) compare(s subject) verdict {
	first, err := c.runHelm(s)
	if errors.Is(err, context.DeadlineExceeded) {
		return verdict{outcome: failed, detail: "helm did not end: " + err.Error()}
	}
	if err != nil {
		ours, oursErr := c.ours.render(s)
		if oursErr == nil {
			return verdict{different, "helm refuses it: " + err.Error(), ours}
		}
		return verdict{outcome: notRendered, detail: err.Error()}
	}
	seen := []string{first}
	var last verdict
	for range attempts {
		ours, err := c.ours.render(s)
		if err != nil {
			return verdict{outcome: failed, detail: err.Error()}
		}
		for _, theirs := range seen {
			if ours == theirs {
				return verdict{equal, "", ours}
			}
		}
		again, err := c.runHelm(s)
		if err != nil {
			return verdict{different, "helm rendered it once, and then: " + err.Error(), ours}
		}
		seen = append(seen, again)
		for i, a := range seen {
			if ours == a {
				return verdict{equal, "", ours}
			}
			for _, b := range seen[:i] {
				if equalWhereFixed(a, b, ours) {
					return verdict{equal, "but for what two runs of helm differ in", ours}
				}
			}
		}
		last = verdict{different, firstDifference(first, ours), ours}
	}
	return last
}

func (c comparison) runHelm(s subject) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), helmTimeout)
	defer cancel()
	args := []string{"template", releaseName, s.path, "--namespace", namespace, "--include-crds"}
	if s.values != "" {
		args = append(args, "-f", s.values)
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, c.helm, args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// equalWhereFixed says whether ours is what helm rendered, but for the parts
// in which two of helm's own runs (a, b) differ: random passwords,
// certificates, dates, and sums over them. Such a part is within a line, and
// what stands before and after it in the line has to be equal.
func equalWhereFixed(a, b, ours string) bool {
	if a == b {
		return a == ours
	}
	al, bl, ol := strings.Split(a, "\n"), strings.Split(b, "\n"), strings.Split(ours, "\n")
	if len(al) != len(bl) || len(al) != len(ol) {
		return false
	}
	for i := range al {
		if al[i] == bl[i] {
			if al[i] != ol[i] {
				return false
			}
			continue
		}
		before := commonPrefix(al[i], bl[i])
		after := commonSuffix(al[i][len(before):], bl[i][len(before):])
		// Two random values may agree in a few characters by chance, and in
		// the padding of base64, so only what surrounds the value counts: cut
		// back to where it begins and ends.
		before = before[:strings.LastIndexAny(before, " :\"'=")+1]
		if j := strings.IndexAny(after, " \"',"); j >= 0 {
			after = after[j:]
		} else {
			after = ""
		}
		if len(ol[i]) < len(before)+len(after) || !strings.HasPrefix(ol[i], before) || !strings.HasSuffix(ol[i], after) {
			return false
		}
	}
	return true
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

func commonSuffix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return a[len(a)-n:]
}

func firstDifference(theirs, ours string) string {
	t, o := strings.Split(theirs, "\n"), strings.Split(ours, "\n")
	source := ""
	for i := range max(len(t), len(o)) {
		if i >= len(t) {
			return fmt.Sprintf("line %d: only ours has %q", i+1, o[i])
		}
		if i >= len(o) {
			return fmt.Sprintf("line %d: only helm has %q", i+1, t[i])
		}
		if rest, ok := strings.CutPrefix(t[i], "# Source: "); ok {
			source = rest
		}
		if t[i] != o[i] {
			return fmt.Sprintf("line %d (%s): helm %q, ours %q", i+1, source, t[i], o[i])
		}
	}
	return "none found"
}
