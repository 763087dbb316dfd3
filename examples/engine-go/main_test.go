package main

import (
	"os"
	"path/filepath"
	"testing"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
	"github.com/nestor-platform/orchestrator/sdk/go/nestortest"
)

func TestTheLifeOfANote(t *testing.T) {
	host := nestortest.New(t)
	file = filepath.Join(t.TempDir(), "note.txt")
	request := nestor.Request{Config: nestor.JSON(`{"text": "hello"}`)}

	plan, err := engine{}.Plan(nestor.Context{}, request)
	if err != nil || plan.Action != nestor.ActionCreate {
		t.Fatalf("plan before: %+v, %v", plan, err)
	}
	outcome, err := engine{}.Apply(nestor.Context{}, request)
	if err != nil {
		t.Fatal(err)
	}
	settled := outcome.(nestor.Settled)
	if string(settled.Outputs[0].Value) != string(plan.Outputs[0].Known) {
		t.Errorf("planned %s, got %s", plan.Outputs[0].Known, settled.Outputs[0].Value)
	}
	if written, _ := os.ReadFile(file); string(written) != "hello" {
		t.Errorf("the file holds %q", written)
	}
	if len(host.Logs) != 1 || host.Logs[0].Fields["bytes"] != 5 {
		t.Errorf("logged %+v", host.Logs)
	}

	request.Prior = &nestor.Prior{State: settled.State}
	for config, want := range map[string]nestor.Action{
		`{"text": "hello"}`:                nestor.ActionNoop,
		`{"text": "other"}`:                nestor.ActionUpdate,
		`{"text": {"$unknown": "string"}}`: nestor.ActionUpdate,
	} {
		request.Config = nestor.JSON(config)
		if plan, err := (engine{}).Plan(nestor.Context{}, request); err != nil || plan.Action != want {
			t.Errorf("%s: %+v, %v", config, plan, err)
		}
	}

	for range 2 { // gone already is a success
		if _, err := (engine{}).Destroy(nestor.Context{}, request); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestAWrongConfig(t *testing.T) {
	_, err := engine{}.Apply(nestor.Context{}, nestor.Request{Config: nestor.JSON(`{"text": 5}`)})
	if _, ok := err.(nestor.Invalid); !ok {
		t.Errorf("got %T %v", err, err)
	}
}
