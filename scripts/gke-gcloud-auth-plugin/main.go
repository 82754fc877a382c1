// Command gke-gcloud-auth-plugin stands where Google's plugin of that name stands on PATH: kubectl and every other
// client-go program run it to get a token for a GKE cluster. It prints an ExecCredential with the token it finds and
// knows nothing of clusters, so the same kubeconfig works with the sandbox and, given a token, with Google.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"patag/infra/sandbox/layout"
)

const version = "patag sandbox 0.1.0"

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	for _, arg := range args {
		switch strings.TrimLeft(arg, "-") {
		case "version":
			fmt.Fprintln(stdout, "Kubernetes", version)
			return 0
		case "help", "h":
			fmt.Fprintln(stdout, "usage: gke-gcloud-auth-plugin [--version]\n\n"+
				"Prints a Kubernetes ExecCredential. The token comes from the file $CLOUDSDK_AUTH_ACCESS_TOKEN_FILE,\n"+
				"else from $GOOGLE_OAUTH_ACCESS_TOKEN, else from the sandbox's state folder ($PATAG_STATE).")
			return 0
		case "use_application_default_credentials":
			// The flag of Google's plugin: there are no other credentials than the token here.
		default:
			fmt.Fprintf(stderr, "gke-gcloud-auth-plugin: unknown argument %q; it takes --version and --use_application_default_credentials\n", arg)
			return 2
		}
	}
	token, err := findToken(getenv)
	if err != nil {
		fmt.Fprintln(stderr, "gke-gcloud-auth-plugin:", err)
		return 1
	}
	// client-go refuses an answer in another version than the one its kubeconfig asks for.
	apiVersion := "client.authentication.k8s.io/v1beta1"
	var info struct{ APIVersion string }
	if json.Unmarshal([]byte(getenv("KUBERNETES_EXEC_INFO")), &info) == nil && info.APIVersion == "client.authentication.k8s.io/v1" {
		apiVersion = info.APIVersion
	}
	err = json.NewEncoder(stdout).Encode(map[string]any{
		"kind": "ExecCredential", "apiVersion": apiVersion,
		"spec": map[string]any{"interactive": false}, "status": map[string]any{"token": token},
	})
	if err != nil {
		fmt.Fprintln(stderr, "gke-gcloud-auth-plugin: write the credential:", err)
		return 1
	}
	return 0
}

func findToken(getenv func(string) string) (string, error) {
	if file := getenv("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"); file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the access token that CLOUDSDK_AUTH_ACCESS_TOKEN_FILE names: %w; run eval \"$(patag env STACK)\" again", err)
		}
		token := strings.TrimSpace(string(raw))
		if token == "" {
			return "", fmt.Errorf("the access token file %s is empty; run eval \"$(patag env STACK)\" again", file)
		}
		return token, nil
	}
	if token := strings.TrimSpace(getenv("GOOGLE_OAUTH_ACCESS_TOKEN")); token != "" {
		return token, nil
	}
	l, err := layout.Default()
	if err != nil {
		return "", err
	}
	token, err := l.Token()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("no access token: CLOUDSDK_AUTH_ACCESS_TOKEN_FILE and GOOGLE_OAUTH_ACCESS_TOKEN are not set and there is no sandbox in %s; "+
			"run patag sandbox start, or set PATAG_STATE to its state folder", l.Root)
	case err != nil:
		return "", fmt.Errorf("read the sandbox's access token: %w", err)
	case token == "":
		return "", fmt.Errorf("the sandbox's access token file %s is empty; run patag sandbox start to have a new one made", l.TokenFile())
	}
	return token, nil
}
