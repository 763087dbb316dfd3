package main

import "testing"

func TestEqualWhereFixed(t *testing.T) {
	for _, c := range []struct {
		name, a, b, ours string
		want             bool
	}{
		{"all equal", "a: 1\nb: 2", "a: 1\nb: 2", "a: 1\nb: 2", true},
		{"nothing varies, ours differs", "a: 1", "a: 1", "a: 2", false},
		{"a random value", "a: xyz\nb: 2", "a: xqq\nb: 2", "a: rrr\nb: 2", true},
		{"a random value, another line differs", "a: xyz\nb: 2", "a: qqq\nb: 2", "a: rrr\nb: 3", false},
		{"another key on a random line", "a: xyz", "a: qqq", "c: rrr", false},
		{"quotes around it", `a: "xyz"`, `a: "qqz"`, `a: "rrr"`, true},
		{"a quote missing", `a: "xyz"`, `a: "qqz"`, `a: "rrr`, false},
		{"padding by chance", "a: eHl6Cg==", "a: cXF6Cg==", "a: cnJycnJy", true},
		{"a line more", "a: xyz", "a: qqq", "a: rrr\nb: 1", false},
	} {
		if got := equalWhereFixed(c.a, c.b, c.ours); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
