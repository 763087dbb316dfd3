// An engine that keeps a note: a text in a file, with its digest as an output.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
)

var file = "/work/note.txt" // a variable for the tests

type note struct{ Text string }

type engine struct{ nestor.Unimplemented }

func (engine) Describe() nestor.Description {
	return nestor.Description{Name: "note", Version: "0.1.0", Summary: "Keeps a text in a file"}
}

func (engine) Plan(_ nestor.Context, r nestor.Request) (nestor.ProposedChanges, error) {
	config, err := nestor.Decode[map[string]any](r.Config, "config")
	plan := nestor.ProposedChanges{Action: nestor.ActionCreate, Summary: "write the note",
		Outputs: []nestor.PlannedOutput{{Name: "digest", JSONType: "string"}}}
	text, known := config["text"].(string) // else the output of a resource that is not there yet
	if known {
		plan.Outputs[0].Known = nestor.Encode(digest(text))
	}
	if r.Prior != nil {
		plan.Action = nestor.ActionUpdate
		if known && string(r.Prior.State) == string(plan.Outputs[0].Known) {
			plan.Action, plan.Summary = nestor.ActionNoop, "the note stays"
		}
	}
	return plan, err
}

func (engine) Apply(_ nestor.Context, r nestor.Request) (nestor.Outcome, error) {
	note, err := nestor.Decode[note](r.Config, "config")
	if err != nil {
		return nil, err
	}
	nestor.Log(nestor.LevelInfo, "writing the note", map[string]any{"bytes": len(note.Text)})
	sum := nestor.Encode(digest(note.Text))
	outputs := []nestor.Output{{Name: "digest", Value: sum}}
	return nestor.Settled{Outputs: outputs, State: sum}, os.WriteFile(file, []byte(note.Text), 0o644)
}

func (engine) Destroy(nestor.Context, nestor.Request) (nestor.Outcome, error) {
	return nestor.Settled{}, os.RemoveAll(file)
}

func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

func init() { nestor.Register(engine{}) }

func main() {}
