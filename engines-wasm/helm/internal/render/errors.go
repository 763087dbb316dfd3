package render

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/limits"
)

// TemplateError is a template that cannot be parsed or executed, or whose
// result is not YAML.
type TemplateError struct {
	// Source is the template, under the chart's name.
	Source string
	// Line and Column count from 1; 0 is unknown.
	Line, Column int
	// Message is what was wrong, without the engine's own frames.
	Message string
	// At is the expression that failed, or empty.
	At string
	// Includes are the places that led there, the innermost first.
	Includes []string
}

const (
	// maxIncludes bounds the places that an error names. An endless recursion
	// has a thousand.
	maxIncludes = 5

	// engineName is what Helm's engine calls a text without a file.
	engineName = "gotpl"
)

// Place is "source:line:column" as far as known.
func (e *TemplateError) Place() string {
	place := e.Source
	if e.Line > 0 {
		place += ":" + strconv.Itoa(e.Line)
		if e.Column > 0 {
			place += ":" + strconv.Itoa(e.Column)
		}
	}
	return place
}

func (e *TemplateError) Error() string {
	var b strings.Builder
	b.WriteString(e.Place())
	b.WriteString(": ")
	b.WriteString(e.Message)
	if at := strings.TrimSuffix(strings.TrimPrefix(e.At, "{{"), "}}"); at != "" {
		fmt.Fprintf(&b, " in {{ %s }}", at)
	}
	for _, include := range e.Includes {
		b.WriteString(", included from ")
		b.WriteString(include)
	}
	return b.String()
}

var (
	// The three forms of Helm's engine: "execution error at (a.yaml:3:4): …"
	// for fail and required, "parse error at (a.yaml:3): …", and frames of a
	// place, what was executed and a message, each on a line of its own.
	atForm    = regexp.MustCompile(`(?s)^(execution error at|execution error in|parse error at|parse error in) \(([^()]*)\): (.*)$`)
	placeForm = regexp.MustCompile(`^(.+?)(?::(\d+))?(?::(\d+))?$`)
	frameForm = regexp.MustCompile(`^  executing ".*" at <(.*)>:$`)
	// Some chains Helm leaves as Go's template package writes them, on one line.
	chainForm  = regexp.MustCompile(`template: ([^\s:]+(?::\d+){1,2}): executing "[^"]*" at <(.*?)>: `)
	yamlForm   = regexp.MustCompile(`(?s)^YAML parse error on ([^:]+): (.*)$`)
	yamlLine   = regexp.MustCompile(`(?:yaml: )?line (\d+): (.*)`)
	endless    = regexp.MustCompile(`rendering template has a nested reference name: (\S+): `)
	noTemplate = regexp.MustCompile(`^(?:error calling include: )?template: no template "([^"]*)"`)
	noValue    = regexp.MustCompile(`^nil pointer evaluating (?:interface \{\}|.*)\.(\S+)$`)
)

func templateError(chart string, err error) error {
	text := err.Error()
	if m := atForm.FindStringSubmatch(text); m != nil {
		e := placed(m[2])
		e.Message = strings.TrimSpace(m[3])
		return e
	}
	frames := framesOf(text)
	if len(frames) == 0 {
		frames = chainOf(text)
	}
	if len(frames) == 0 {
		return &TemplateError{Source: chart, Message: strings.TrimSpace(strings.TrimPrefix(text, "rendering template failed: "))}
	}
	innermost := frames[len(frames)-1]
	innermost.Message = plain(innermost.Message, innermost.At)
	for i := len(frames) - 2; i >= 0 && len(innermost.Includes) < maxIncludes; i-- {
		if place := frames[i].Place(); len(innermost.Includes) == 0 || innermost.Includes[len(innermost.Includes)-1] != place {
			innermost.Includes = append(innermost.Includes, place)
		}
	}
	return innermost
}

// framesOf reads Helm's trace, outermost frame first.
func framesOf(text string) []*TemplateError {
	var frames []*TemplateError
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case line == "":
		case !strings.HasPrefix(line, " ") && (placed(line).Line > 0 || len(frames) == 0):
			frames = append(frames, placed(line))
		case len(frames) == 0:
			return nil
		default:
			last := frames[len(frames)-1]
			if m := frameForm.FindStringSubmatch(line); m != nil {
				last.At = m[1]
			} else {
				last.Message = strings.TrimSpace(strings.TrimSpace(last.Message) + " " + strings.TrimSpace(line))
			}
		}
	}
	// A trace has a place in its first line; anything else is not one.
	if len(frames) > 0 && frames[0].Line == 0 {
		return nil
	}
	return frames
}

// chainOf reads Go's chain, outermost frame first.
func chainOf(text string) []*TemplateError {
	var frames []*TemplateError
	matches := chainForm.FindAllStringSubmatchIndex(text, -1)
	for i, m := range matches {
		end := len(text)
		if i+1 < len(matches) {
			end = matches[i+1][0]
		}
		frame := placed(text[m[2]:m[3]])
		frame.At = text[m[4]:m[5]]
		frame.Message = strings.TrimSpace(text[m[1]:end])
		// A text that tpl was given has no file; what was given is in At.
		if frame.Source == engineName && len(frames) > 0 {
			frame.Source, frame.Line, frame.Column = frames[len(frames)-1].Source, frames[len(frames)-1].Line, 0
		}
		frames = append(frames, frame)
	}
	return frames
}

// plain says in a chart author's words what Go's template package says in its
// own.
func plain(message, at string) string {
	if m := endless.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("the template %q includes itself more than %d times", m[1], limits.TemplateDepth)
	}
	if m := noTemplate.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("there is no template %q", m[1])
	}
	if m := noValue.FindStringSubmatch(message); m != nil {
		if parent, ok := strings.CutSuffix(at, "."+m[1]); ok && !strings.Contains(parent, " ") {
			return fmt.Sprintf("%s has no value, so .%s cannot be read", parent, m[1])
		}
		return fmt.Sprintf("what is left of .%s has no value", m[1])
	}
	return message
}

func placed(place string) *TemplateError {
	m := placeForm.FindStringSubmatch(strings.TrimSpace(place))
	if m == nil {
		return &TemplateError{Source: place}
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	return &TemplateError{Source: m[1], Line: line, Column: column}
}

// yamlError is for templates that execute, but to something that is not YAML.
// It shows the line of the result, which the chart author does not see.
func yamlError(chart string, files map[string]string, err error) error {
	m := yamlForm.FindStringSubmatch(err.Error())
	if m == nil {
		return &TemplateError{Source: chart, Message: err.Error()}
	}
	e := &TemplateError{Source: m[1], Message: "the result is not a Kubernetes manifest: " + cleanYAML(m[2])}
	if l := yamlLine.FindStringSubmatch(m[2]); l != nil {
		n, _ := strconv.Atoi(l[1])
		e.Message = "the result is not YAML: " + l[2]
		if line, ok := lineOf(files[m[1]], n); ok {
			e.Message += fmt.Sprintf(", near %q", line)
		}
	}
	return e
}

func cleanYAML(message string) string {
	message = strings.TrimPrefix(message, "error unmarshaling JSON: while decoding JSON: ")
	message = strings.TrimPrefix(message, "error converting YAML to JSON: ")
	return strings.ReplaceAll(message, "into Go value of type util.SimpleHead", "where apiVersion, kind and metadata are expected")
}

func lineOf(content string, n int) (string, bool) {
	lines := strings.Split(content, "\n")
	if n < 1 || n > len(lines) {
		return "", false
	}
	const shown = 120
	line := strings.TrimSpace(lines[n-1])
	if len(line) > shown {
		line = strings.ToValidUTF8(line[:shown], "") + "…"
	}
	return line, line != ""
}

// AsTemplateError is errors.As for callers that only want to ask.
func AsTemplateError(err error) (*TemplateError, bool) {
	return errors.AsType[*TemplateError](err)
}
