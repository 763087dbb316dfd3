package render

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// This file does what Helm's releaseutil.SortManifests does, and is the one
// place where a step of Helm's is written anew: Helm's takes a sixth of a large
// rendering in the sandbox, in a regular expression that runs over every byte
// and a table that every comparison builds. Tests hold the two together.

// document is one document of a rendered file.
type document struct {
	source, content string
	head            releaseutil.SimpleHead
	// events of a hook; none for a manifest.
	events []release.HookEvent
}

// hookEvents are the values of Helm's hook annotation.
var hookEvents = map[string]release.HookEvent{
	release.HookPreInstall.String():   release.HookPreInstall,
	release.HookPostInstall.String():  release.HookPostInstall,
	release.HookPreDelete.String():    release.HookPreDelete,
	release.HookPostDelete.String():   release.HookPostDelete,
	release.HookPreUpgrade.String():   release.HookPreUpgrade,
	release.HookPostUpgrade.String():  release.HookPostUpgrade,
	release.HookPreRollback.String():  release.HookPreRollback,
	release.HookPostRollback.String(): release.HookPostRollback,
	release.HookTest.String():         release.HookTest,
	// Helm 2 had another name for it.
	"test-success": release.HookTest,
}

// installOrder is the place of each kind in Helm's order.
var installOrder = func() map[string]int {
	order := map[string]int{}
	for i, kind := range releaseutil.InstallOrder {
		order[kind] = i
	}
	return order
}()

// sortManifests splits files into documents, tells hooks from manifests, and
// puts both into Helm's install order. The error is of the first document that
// is not YAML, worded as Helm's.
func sortManifests(files map[string]string) (hooks, manifests []document, err error) {
	for _, source := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(path.Base(source), "_") {
			continue
		}
		for _, content := range splitManifests(files[source]) {
			head, err := readHead(content)
			if err != nil {
				return nil, nil, fmt.Errorf("YAML parse error on %s: %w", source, err)
			}
			d := document{source: source, content: content, head: head}
			annotation, isHook := hookAnnotation(d.head)
			if !isHook {
				manifests = append(manifests, d)
				continue
			}
			if d.events = eventsOf(annotation); d.events == nil {
				slog.Info("skipping unknown hooks", "hookTypes", annotation)
				continue
			}
			hooks = append(hooks, d)
		}
	}
	slices.SortStableFunc(hooks, byKind)
	slices.SortStableFunc(manifests, byKind)
	return hooks, manifests, nil
}

func hookAnnotation(head releaseutil.SimpleHead) (string, bool) {
	if head.Metadata == nil {
		return "", false
	}
	annotation, ok := head.Metadata.Annotations[release.HookAnnotation]
	return annotation, ok
}

// eventsOf answers none when one is not known.
func eventsOf(annotation string) []release.HookEvent {
	var events []release.HookEvent
	for name := range strings.SplitSeq(annotation, ",") {
		event, ok := hookEvents[strings.ToLower(strings.TrimSpace(name))]
		if !ok {
			return nil
		}
		events = append(events, event)
	}
	return events
}

// byKind puts kinds that Helm does not know last, by name.
func byKind(a, b document) int {
	x, xKnown := installOrder[a.head.Kind]
	y, yKnown := installOrder[b.head.Kind]
	switch {
	case xKnown && yKnown:
		return cmp.Compare(x, y)
	case xKnown:
		return -1
	case yKnown:
		return 1
	default:
		return strings.Compare(a.head.Kind, b.head.Kind)
	}
}

// splitManifests splits as Helm's regular expression `(?m)^---[ \t]*` does: a
// separator is three hyphens at the beginning of a line, whatever follows.
func splitManifests(file string) []string {
	const separator = "---"
	var documents []string
	add := func(d string) {
		if d = strings.TrimLeftFunc(d, unicode.IsSpace); d != "" {
			documents = append(documents, d)
		}
	}
	rest := strings.TrimLeftFunc(file, unicode.IsSpace)
	if after, ok := strings.CutPrefix(rest, separator); ok {
		rest = after
	}
	for {
		before, after, found := strings.Cut(rest, "\n"+separator)
		if !found {
			add(rest)
			return documents
		}
		add(before + "\n")
		rest = after
	}
}
