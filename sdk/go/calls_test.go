package nestor

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("around: %w", err) }
	invalid := Invalid{{Path: "/a", Message: "m"}}
	for _, c := range []struct{ err, want error }{
		{invalid, invalid},
		{wrapped(invalid), invalid},
		{Denied("d"), Denied("d")},
		{wrapped(Denied("d")), Denied("around: d")},
		{wrapped(Conflict("c")), Conflict("around: c")},
		{wrapped(Missing("m")), Missing("around: m")},
		{wrapped(Transient{"t", time.Second}), Transient{"around: t", time.Second}},
		{wrapped(Unsupported("u")), Unsupported("around: u")},
		{wrapped(Failed("f")), Failed("around: f")},
		{errors.New("plain"), Failed("plain")},
	} {
		if got := classify(c.err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: got %T %v, want %T %v", c.err, got, got, c.want, c.want)
		}
	}
}

func TestCall(t *testing.T) {
	if v, err := call(func() (int, error) { return 1, nil }); v != 1 || err != nil {
		t.Error(v, err)
	}
	_, err := call(func() (int, error) { panic("boom") })
	if !reflect.DeepEqual(err, Failed("the engine panicked: boom")) {
		t.Errorf("%T %v", err, err)
	}
	if _, err := checkOutcome(nil, nil); err == nil {
		t.Error("no outcome is an error")
	}
	if o, err := checkOutcome(Settled{}, nil); o == nil || err != nil {
		t.Error(o, err)
	}
}

func TestInvalidText(t *testing.T) {
	err := Invalid{{Path: "/a", Message: "small"}, {Message: "wrong"}}
	if got := err.Error(); got != "/a: small; wrong" {
		t.Error(got)
	}
}

func TestRegisterOnce(t *testing.T) {
	type engine struct {
		Engine
	}
	defer func() { registered = nil }()
	Register(engine{})
	for _, e := range []Engine{engine{}, nil} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Register(%v) after Register", e)
				}
			}()
			Register(e)
		}()
	}
}
