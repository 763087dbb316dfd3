package nestor_test

import (
	"errors"
	"reflect"
	"testing"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"
	"github.com/nestor-platform/orchestrator/sdk/go/nestortest"
)

func TestDecodeAndEncode(t *testing.T) {
	type config struct {
		Size int `json:"size"`
	}
	for _, c := range []struct {
		document string
		want     config
		err      string
	}{
		{`{"size": 3, "other": true}`, config{3}, ""},
		{``, config{}, ""},
		{`{"size": "x"}`, config{}, "config: json: cannot unmarshal string into Go struct field config.size of type int"},
		{`{`, config{}, "config: unexpected end of JSON input"},
	} {
		got, err := nestor.Decode[config](nestor.JSON(c.document), "config")
		if got != c.want && c.err == "" {
			t.Errorf("%s: got %+v", c.document, got)
		}
		var invalid nestor.Invalid
		if (err == nil) != (c.err == "") || err != nil && (err.Error() != c.err || !errors.As(err, &invalid)) {
			t.Errorf("%s: error %v", c.document, err)
		}
	}
	if got := string(nestor.Encode(map[string]string{"a": "<b>"})); got != `{"a":"<b>"}` {
		t.Error(got)
	}
}

func TestUnknown(t *testing.T) {
	for document, want := range map[string]string{
		`{"$unknown": "string"}`:         "string",
		`{"$unknown": "string", "a": 1}`: "",
		`{"$unknown": 1}`:                "",
		`"text"`:                         "",
		`null`:                           "",
	} {
		v, err := nestor.Decode[any](nestor.JSON(document), "config")
		if err != nil {
			t.Fatal(err)
		}
		if kind, unknown := nestor.Unknown(v); kind != want || unknown != (want != "") {
			t.Errorf("%s: %q, %v", document, kind, unknown)
		}
	}
}

func TestUnimplemented(t *testing.T) {
	var e nestor.Unimplemented
	var unsupported nestor.Unsupported
	_, plan := e.Plan(nestor.Context{}, nestor.Request{})
	_, apply := e.Apply(nestor.Context{}, nestor.Request{})
	_, observe := e.Observe(nestor.Context{}, nestor.Request{})
	_, drift := e.Drift(nestor.Context{}, nestor.Request{})
	_, destroy := e.Destroy(nestor.Context{}, nestor.Request{})
	_, render := e.Render(nestor.Context{}, nestor.Request{})
	for _, err := range []error{plan, apply, observe, drift, destroy, render} {
		if !errors.As(err, &unsupported) {
			t.Errorf("%T %v", err, err)
		}
	}
}

func TestWithoutAHostCallsFailAndLogsVanish(t *testing.T) {
	nestor.Log(nestor.LevelError, "nobody hears", nil)
	nestor.Progress(1, "nobody sees")
	if _, err := nestor.DefinitionFiles(""); err == nil {
		t.Error("files without a host")
	}
	if _, err := nestor.Spawn(nestor.Invocation{}); err == nil {
		t.Error("a tool without a host")
	}
}

func TestTheTestHost(t *testing.T) {
	t.Run("in place", func(t *testing.T) {
		host := nestortest.New(t)
		host.Files = map[string]string{"chart/b": "2", "chart/a": "1", "chartless": "3"}
		host.Secrets["known"] = true
		host.Tools["echo"] = func(i nestor.Invocation) ([]nestor.Line, int) {
			return []nestor.Line{{Text: i.Args[0]}}, 7
		}

		files, err := nestor.DefinitionFiles("chart")
		want := []nestor.File{{Path: "a", Content: []byte("1")}, {Path: "b", Content: []byte("2")}}
		if err != nil || !reflect.DeepEqual(files, want) {
			t.Errorf("files: %v, %v", files, err)
		}
		if _, err := nestor.DefinitionFiles("absent"); err == nil {
			t.Error("a folder that is not there")
		}

		var denied nestor.Denied
		if s, err := nestor.SecretReference("known"); err != nil || s == "" {
			t.Error(s, err)
		}
		if _, err := nestor.SecretReference("other"); !errors.As(err, &denied) {
			t.Error(err)
		}

		if err := nestor.StorePut("a/1", []byte("v")); err != nil {
			t.Error(err)
		}
		if v, found, err := nestor.StoreGet("a/1"); string(v) != "v" || !found || err != nil {
			t.Error(string(v), found, err)
		}
		if keys, err := nestor.StoreKeys("a/"); len(keys) != 1 || err != nil {
			t.Error(keys, err)
		}
		if err := nestor.StoreDelete("a/1"); err != nil {
			t.Error(err)
		}
		if _, found, _ := nestor.StoreGet("a/1"); found {
			t.Error("still there")
		}

		child, err := nestor.Spawn(nestor.Invocation{Tool: "echo", Args: []string{"hi"}})
		if err != nil {
			t.Fatal(err)
		}
		defer child.Close()
		line, ok := child.NextLine()
		_, more := child.NextLine()
		code, err := child.Wait()
		if line.Text != "hi" || !ok || more || code != 7 || err != nil {
			t.Error(line, ok, more, code, err)
		}
		if _, err := nestor.Spawn(nestor.Invocation{Tool: "rm"}); !errors.As(err, &denied) {
			t.Error(err)
		}
	})
	if _, err := nestor.SecretReference("known"); err == nil {
		t.Error("the test host outlived its test")
	}
}
