package description

import (
	"testing"
)

func TestEveryDescriptionLoads(t *testing.T) {
	tokens := Tokens()
	if len(tokens) != 33 {
		t.Fatalf("%d types described, want 33", len(tokens))
	}
	for _, token := range tokens {
		if _, err := Lookup(token); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownTypeIsNamed(t *testing.T) {
	for _, token := range []string{"gcp:sql/databaseInstance:DatabaseInstance", "gcp:compute/network:Netwerk", "aws:s3/bucket:Bucket", "nonsense"} {
		if _, err := Lookup(token); err == nil {
			t.Errorf("Lookup(%q) found something", token)
		}
	}
}

func TestTemplateMatchesWhatItMakes(t *testing.T) {
	for _, c := range []struct {
		template, text string
		want           map[string]string
	}{
		{"projects/{project}/global/networks/{name}", "projects/p/global/networks/n", map[string]string{"project": "p", "name": "n"}},
		{"{name}", "projects/p/alertPolicies/1", map[string]string{"name": "projects/p/alertPolicies/1"}},
		{"b/{bucket}/{role}/{member}", "b/x/roles/storage.admin/user:a@b", map[string]string{"bucket": "x", "role": "roles/storage.admin", "member": "user:a@b"}},
		{"{serviceAccountId}/{role}/{member}", "projects/p/serviceAccounts/a@p.iam/projects/p/roles/own/user:x",
			map[string]string{"serviceAccountId": "projects/p/serviceAccounts/a@p.iam", "role": "projects/p/roles/own", "member": "user:x"}},
	} {
		tpl, err := parseTemplate(c.template, true)
		if err != nil {
			t.Fatal(err)
		}
		vars, ok := tpl.Match(c.text)
		if !ok {
			t.Errorf("%q does not match %q", c.template, c.text)
			continue
		}
		for k, v := range c.want {
			if vars[k] != v {
				t.Errorf("%q in %q: %s = %q, want %q", c.template, c.text, k, vars[k], v)
			}
		}
		back, err := tpl.Fill(func(n string) (string, bool) { v, ok := vars[n]; return v, ok })
		if err != nil || back != c.text {
			t.Errorf("%q filled again gives %q, %v", c.template, back, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range []string{"storage-bucket.yaml", "dns-recordSet.yaml", "container-nodePool.yaml"} {
		raw, err := files.ReadFile("types/" + e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("type: a\nproperties: {a: 'map of object'}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if d, err := Parse(raw); err == nil && d.Root == nil {
			t.Error("a description without properties was accepted")
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("projects/{project}/{%name}", "a/b c")
	f.Add("{/x}:{-}", "")
	f.Fuzz(func(t *testing.T, source, v string) {
		tpl, err := ParseTemplate(source)
		if err != nil {
			return
		}
		_, _ = tpl.FillPath(func(string) (string, bool) { return v, true })
		tpl.Match(v)
	})
}
