package engine

import (
	"context"
	"log/slog"
	"strings"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
)

// warnings of the running call. A component runs one call at a time.
var warnings []string

// logging sends what Helm's packages log to the host while a call runs, and
// keeps the warnings. It answers a function that ends it.
func logging() (done func()) {
	before := slog.Default()
	warnings = nil
	slog.SetDefault(slog.New(toHost{}))
	return func() { slog.SetDefault(before) }
}

func warn(message string) { warnings = append(warnings, message) }

func takeWarnings() []string {
	taken := warnings
	warnings = nil
	return taken
}

// toHost is a slog.Handler.
type toHost struct{ attrs []slog.Attr }

// Enabled from info on: Helm's debug lines carry whole schemas.
func (toHost) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h toHost) Handle(_ context.Context, r slog.Record) error {
	fields := map[string]any{}
	text := r.Message
	add := func(a slog.Attr) bool {
		value := a.Value.Resolve().String()
		fields[a.Key] = value
		text += ", " + a.Key + " " + value
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	level := nestor.LevelInfo
	switch {
	case r.Level >= slog.LevelError:
		level = nestor.LevelError
	case r.Level >= slog.LevelWarn:
		level = nestor.LevelWarn
	}
	nestor.Log(level, r.Message, fields)
	// Skipped hooks are logged as information and package log's warnings come
	// as information too; somebody who validates wants to know both.
	if level != nestor.LevelInfo || strings.HasPrefix(text, "skipping unknown hooks") || strings.HasPrefix(text, "Warning: ") {
		warn(strings.TrimPrefix(text, "Warning: "))
	}
	return nil
}

func (h toHost) WithAttrs(attrs []slog.Attr) slog.Handler {
	return toHost{append(append([]slog.Attr{}, h.attrs...), attrs...)}
}

func (h toHost) WithGroup(string) slog.Handler { return h }
