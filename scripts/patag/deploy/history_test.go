package deploy

import (
	"slices"
	"strings"
	"testing"

	"patag/scripts/patag/engine"
)

func image(digit string) string { return "r/p/tag@sha256:" + strings.Repeat(digit, 64) }

func update(n int, message, result, tag string) engine.Update {
	u := engine.Update{Number: n, Kind: "update", Message: message, Result: result}
	if tag != "" {
		u.Images = map[string]any{"tag": image(tag)}
	}
	return u
}

func TestHistory(t *testing.T) {
	all := entries([]engine.Update{
		update(1, "", "succeeded", "1"),
		update(2, `"patag deploy by ann@desk"`, "succeeded", "1"),
		update(3, "patag deploy by ann@desk", "succeeded", "2"),
		update(4, "patag deploy by ann@desk", "failed", "3"),
		update(5, "patag deploy, taken back, by ann@desk", "succeeded", "2"),
		{Number: 6, Kind: "destroy", Result: "succeeded"},
	})
	for i, want := range []struct {
		what, by string
		changed  []string
	}{
		{"update", "", []string{"tag"}}, {"deploy", "ann@desk", nil}, {"deploy", "ann@desk", []string{"tag"}},
		{"deploy", "ann@desk", []string{"tag"}}, {"deploy, taken back", "ann@desk", nil}, {"destroy", "", nil},
	} {
		if e := all[i]; e.What != want.what || e.By != want.by || !slices.Equal(e.Changed, want.changed) {
			t.Errorf("update %d is %+v, want %+v", i+1, e, want)
		}
	}
	running := map[string]string{"tag": image("2")}
	for _, c := range []struct {
		to, want int
		refused  string
	}{{0, 2, ""}, {1, 1, ""}, {3, 3, ""}, {4, 0, "did not succeed"}, {6, 0, "no images"}, {9, 0, "no update 9"}} {
		e, err := earlier(all, running, c.to)
		if e.Number != c.want || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("--to %d: update %d, %v; want %d, %q", c.to, e.Number, err, c.want, c.refused)
		}
	}
	if _, err := earlier(all[:2], map[string]string{"tag": image("1")}, 0); err == nil {
		t.Error("there is nothing to go back to")
	}
}

func TestByDigest(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for ref, want := range map[string]string{
		"tag" + digest: "tag", "europe-west1-docker.pkg.dev/p/patag/redis" + digest: "redis", "localhost:5000/tag" + digest: "tag",
		"tag:latest": "", "tag@sha256:abc": "", "": "", "/tag" + digest: "",
	} {
		m := byDigest.FindStringSubmatch(ref)
		if want == "" && m != nil || want != "" && (m == nil || m[2] != want) {
			t.Errorf("%q is read as %q, want %q", ref, m, want)
		}
	}
}
