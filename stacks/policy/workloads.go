package policy

import (
	"fmt"
	"regexp"
	"strings"
)

// container is one of a pod, under its name.
type container struct {
	name string
	value
}

// containers are those of a workload of any kind, init containers among them.
func containers(r Resource) (all []container) {
	kind, ok := strings.CutPrefix(r.Type, "kubernetes:")
	if !ok {
		return nil
	}
	spec := inputs(r).at("spec")
	switch kind {
	case "core/v1:Pod":
	case "apps/v1:Deployment", "apps/v1:StatefulSet", "apps/v1:DaemonSet", "apps/v1:ReplicaSet", "batch/v1:Job", "core/v1:ReplicationController":
		spec = spec.at("template", "spec")
	case "batch/v1:CronJob":
		spec = spec.at("jobTemplate", "spec", "template", "spec")
	default:
		return nil
	}
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range spec.at(list).list() {
			all = append(all, container{c.at("name").text(), c})
		}
	}
	return all
}

func requestsAndLimits(_ Stack, r Resource) (found []finding) {
	for _, c := range containers(r) {
		var missing []string
		for _, kind := range []string{"requests", "limits"} {
			for _, what := range []string{"cpu", "memory"} {
				if c.at("resources", kind, what).absent() {
					missing = append(missing, kind+"."+what)
				}
			}
		}
		if len(missing) > 0 {
			found = append(found, finding{fmt.Sprintf("container %s has no %s: it could starve its neighbours, and be placed where it does not fit", c.name, strings.Join(missing, ", ")),
				"give it kube.Resources"})
		}
	}
	return found
}

var digest = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

func imagesByDigest(_ Stack, r Resource) (found []finding) {
	for _, c := range containers(r) {
		if image := c.at("image"); !image.unknown && !digest.MatchString(image.text()) {
			found = append(found, finding{fmt.Sprintf("container %s runs %q, which can be another image tomorrow", c.name, image.text()),
				"name it as REPOSITORY@sha256:… (`patag images build` prints ours)"})
		}
	}
	return found
}

// secretName is how environment variables with secrets are called. A file's path, or the name of a secret, is none.
var secretName = regexp.MustCompile(`(?i)(password|passwd|secret|token|api_?key|private_?key|credentials?)$`)

// secretText is what gives a secret away by itself: a private key, or a password in a URL.
var secretText = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----|\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@$]+@`)

func plainSecrets(_ Stack, r Resource) (found []finding) {
	const do = "make it a secret: pulumi.ToSecret, or `pulumi config set --secret`"
	in := inputs(r)
	switch r.Type {
	case "kubernetes:core/v1:Secret":
		for _, part := range []string{"data", "stringData"} {
			for _, key := range in.at(part).keys() {
				if v := in.at(part, key); !v.secret && !v.unknown && v.text() != "" {
					found = append(found, finding{part + "." + key + " is not marked secret", do})
				}
			}
		}
		return found
	case "gcp:secretmanager/secretVersion:SecretVersion":
		if v := in.at("secretData"); !v.secret && !v.unknown {
			return because(do, "secretData is not marked secret")
		}
		return nil
	}
	for _, c := range containers(r) {
		for _, env := range c.at("env").list() {
			if v := env.at("value"); secretName.MatchString(env.at("name").text()) && v.text() != "" {
				// Marked or not: whoever may read pods reads it.
				found = append(found, finding{fmt.Sprintf("container %s has the value of %s in its environment", c.name, env.at("name").text()),
					"put it into a Secret, and mount that or refer to it with valueFrom"})
			}
		}
	}
	in.texts("", func(path, text string) {
		if secretText.MatchString(text) {
			found = append(found, finding{path + " holds a private key or a password, and is not marked secret", do})
		}
	})
	return found
}
