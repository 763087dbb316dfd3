// An engine that does what its config says, to show from the outside that
// everything which the SDK promises holds inside a component.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
)

type engine struct{ nestor.Unimplemented }

var (
	warmed  = "not warmed"
	counter int
	// atInit is what a library's init function sees.
	atInit = len(os.Args)
)

func init() {
	nestor.Register(engine{})
	nestor.Warm(func() {
		before := time.Now()
		time.Sleep(time.Hour) // Takes no time when the component is built.
		if time.Since(before) >= time.Hour {
			warmed = strings.Repeat("warm ", 2)
		}
	})
}

func (engine) Describe() nestor.Description {
	return nestor.Description{
		Name: "guest", Version: "1.2.3", Summary: "for tests",
		Features:         nestor.FeatureRender | nestor.FeatureDrift,
		DefinitionSchema: nestor.JSON(`{"type":"object"}`),
	}
}

func (engine) Check() error {
	return nestor.Transient{Message: "later", RetryAfter: 1500 * time.Millisecond}
}

func (engine) Validate(c nestor.Context, r nestor.Request) ([]string, error) {
	if r.Name == "bad" {
		return nil, fmt.Errorf("checking: %w", nestor.Invalid{{Path: "/a", Message: "too small"}, {Path: "/b", Message: "absent"}})
	}
	prior := "none"
	if r.Prior != nil {
		prior = fmt.Sprint(string(r.Prior.Config), r.Prior.Outputs[0].Name, r.Prior.Outputs[0].Sensitive, string(r.Prior.State))
	}
	return []string{
		fmt.Sprint(c.OperationID, c.Purpose, c.Deployment, c.Revision, c.Environment, c.Composer, c.Attempt, c.Traceparent),
		fmt.Sprint(r.Name, r.CatalogRef, string(r.Definition), string(r.Config), string(r.DeclaredOutputs), string(r.Settings)),
		prior,
	}, nil
}

func (engine) Plan(nestor.Context, nestor.Request) (nestor.ProposedChanges, error) {
	return nestor.ProposedChanges{
		Action:  nestor.ActionReplace,
		Summary: "sum",
		Changes: []nestor.Change{{Path: "/x", After: nestor.JSON("1"), Sensitive: true}},
		Outputs: []nestor.PlannedOutput{{Name: "y", JSONType: "number"}, {Name: "z", Known: nestor.JSON(`"k"`)}},
	}, nil
}

func (engine) Render(nestor.Context, nestor.Request) (nestor.Rendered, error) {
	return nestor.Rendered{
		Manifests: []nestor.Manifest{{Path: "a/b.yaml", Content: "kind: A\n"}},
		Notes:     "read me",
		State:     nestor.JSON("{}"),
	}, nil
}

// Drift answers nil values where the contract has none.
func (engine) Drift(nestor.Context, nestor.Request) (nestor.ProposedChanges, error) {
	return nestor.ProposedChanges{}, nil
}

func (engine) Observe(nestor.Context, nestor.Request) (nestor.Outcome, error) { return nil, nil }

// Apply runs the action that the config names and answers its text as state.
func (engine) Apply(_ nestor.Context, r nestor.Request) (nestor.Outcome, error) {
	action, err := nestor.Decode[string](r.Config, "config")
	if err != nil {
		return nil, err
	}
	if action == "pending" {
		percent := uint8(200)
		return nestor.Pending{PollAfterMs: 250, Percent: &percent, Message: "wait", State: nestor.JSON("1")}, nil
	}
	text, err := act(action)
	return nestor.Settled{State: nestor.Encode(text)}, err
}

func act(action string) (string, error) {
	switch action {
	case "fresh":
		counter++
		return fmt.Sprint(counter, warmed, atInit, len(os.Environ()), os.Args[0]), nil
	case "files":
		content, err := os.ReadFile("/definition/a.txt")
		if err != nil {
			return "", err
		}
		entries, err := os.ReadDir("/definition")
		if err != nil {
			return "", err
		}
		if err := os.WriteFile("/work/b.txt", append(content, '!'), 0o644); err != nil {
			return "", err
		}
		denied := os.WriteFile("/definition/c.txt", nil, 0o644)
		_, outside := os.ReadFile("/etc/passwd")
		return fmt.Sprint(len(entries), denied != nil, outside != nil), nil
	case "definition":
		files, err := nestor.DefinitionFiles("")
		if err != nil {
			return "", err
		}
		sum := 0
		for _, f := range files {
			for _, b := range f.Content {
				sum += int(b)
			}
		}
		return fmt.Sprint(len(files), files[len(files)-1].Path, sum), nil
	case "store":
		if err := nestor.StorePut("k", []byte("v")); err != nil {
			return "", err
		}
		v, found, err := nestor.StoreGet("k")
		_, absent, _ := nestor.StoreGet("other")
		keys, _ := nestor.StoreKeys("")
		return fmt.Sprint(string(v), found, absent, keys, nestor.StoreDelete("k")), err
	case "log":
		nestor.Log(nestor.LevelWarn, "hello", map[string]any{"n": 1, "s": "<x>"})
		nestor.Log(nestor.LevelDebug, "odd", map[string]any{"f": func() {}})
		nestor.Progress(42, "half")
		nestor.ProgressMessage("on")
		return "", nil
	case "secret":
		known, err := nestor.SecretReference("known")
		_, denied := nestor.SecretReference("unknown")
		return fmt.Sprint(known, err, denied), denied
	case "tool":
		child, err := nestor.Spawn(nestor.Invocation{
			Tool: "t", Args: []string{"a", "b c"}, Env: []nestor.EnvVar{{Name: "X", Value: "1"}},
			Stdin: []byte("in"), TimeoutMs: 1000,
		})
		if err != nil {
			return "", err
		}
		defer child.Close()
		var lines []string
		for line, ok := child.NextLine(); ok; line, ok = child.NextLine() {
			lines = append(lines, fmt.Sprint(line.Stderr, line.Text))
		}
		child.Kill()
		code, err := child.Wait()
		return fmt.Sprint(lines, code), err
	case "random":
		b := make([]byte, 16)
		_, err := rand.Read(b)
		return hex.EncodeToString(b), err
	case "clock":
		before := time.Now()
		time.Sleep(20 * time.Millisecond)
		return fmt.Sprint(before.Year() > 2020, time.Since(before) >= 20*time.Millisecond), nil
	case "goroutines":
		results := make(chan int)
		for i := range 100 {
			go func() { results <- i }()
		}
		sum := 0
		for range 100 {
			sum += <-results
		}
		return fmt.Sprint(sum), nil
	case "garbage":
		// Ten times what the collector lets live.
		var kept []byte
		for range 1280 {
			kept = make([]byte, 1<<20)
			kept[0] = 1
		}
		return fmt.Sprint(len(kept)), nil
	case "stderr":
		fmt.Fprintln(os.Stderr, "on stderr")
		return "", nil
	case "panic":
		var m map[string]int
		m["x"] = 1
	}
	return "", nestor.Conflict("no such action: " + action)
}

func main() {}
