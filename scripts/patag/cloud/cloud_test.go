package cloud

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExports lets a real shell read what is printed back.
func TestExports(t *testing.T) {
	values := []string{"plain", "two words", "it's", `"double"`, "$HOME `id` $(id)", "a\nb", `back\slash`, "-n", "*", "ü", "'", "a=b;c&d|e<f>g"}
	for _, v := range values {
		script := Exports(map[string]string{"PATAG_X": v}) + `printf %s "$PATAG_X"`
		out, err := exec.Command("sh", "-c", script).Output()
		if err != nil || string(out) != v {
			t.Errorf("%q came back as %q (%v)", v, out, err)
		}
	}
	out, err := exec.Command("sh", "-c", "PATAG_X=1; export PATAG_X\n"+Exports(map[string]string{"PATAG_X": ""})+`printf %s "${PATAG_X-gone}"`).Output()
	if err != nil || string(out) != "gone" {
		t.Errorf("an empty value is not unset: %q %v", out, err)
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("it's")
	f.Fuzz(func(t *testing.T, v string) {
		if strings.ContainsRune(v, 0) {
			t.Skip("no variable can hold it")
		}
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(v)+"x").Output()
		if err != nil || string(out) != v+"x" {
			t.Errorf("%q came back as %q (%v)", v, out, err)
		}
	})
}

func program(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestPlugin: the official plugin wins wherever it is, the stand-in beside patag is what is left.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	tools := Tools{Dir: dir + "/tools", Beside: dir + "/bin", Front: dir + "/front"}
	t.Setenv("HOME", dir)
	t.Setenv("PATH", dir+"/usr:"+dir+"/bin")
	if _, _, err := tools.Plugin(); err == nil {
		t.Error("a plugin was found where there is none")
	}
	for _, c := range []struct {
		path    string
		standIn bool
	}{
		{dir + "/bin/" + gcpPlugin, true},
		{dir + "/usr/" + gcpPlugin, false},
		{dir + "/.pulumi/plugins/resource-gcp-v7.38.0/" + gcpPlugin, false},
	} {
		program(t, c.path)
		path, standIn, err := tools.Plugin()
		if err != nil || path != c.path || standIn != c.standIn {
			t.Errorf("with %s: %s %v %v", c.path, path, standIn, err)
		}
	}

	// The auth plugin is the other way round: Google's own must not win on the sandbox.
	program(t, dir+"/usr/"+authPlugin)
	program(t, dir+"/bin/"+authPlugin)
	if path, err := tools.AuthPlugin(); err != nil || path != dir+"/bin/"+authPlugin {
		t.Errorf("auth plugin on the sandbox: %s %v", path, err)
	}
	if path, err := (Tools{Dir: tools.Dir, Beside: tools.Beside}).AuthPlugin(); err != nil || path != dir+"/usr/"+authPlugin {
		t.Errorf("auth plugin on gcp: %s %v", path, err)
	}
	for range 2 {
		if err := tools.LinkFront(); err != nil {
			t.Fatal(err)
		}
	}
	if path, ok := lookIn(authPlugin, tools.Path(os.Getenv("PATH"))); !ok || path != dir+"/front/"+authPlugin {
		t.Errorf("auth plugin on the PATH: %s", path)
	}
	once := tools.Path(os.Getenv("PATH"))
	if twice := tools.Path(once); twice != once {
		t.Errorf("the PATH grows: %s, then %s", once, twice)
	}
}
