package pulumitest

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// computed is a resource's id and state: its inputs, and what an engine or a cloud adds to them.
func computed(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	state := args.Inputs.Copy()
	if strings.HasPrefix(args.TypeToken, "kubernetes:") {
		return kubernetesState(args, state)
	}
	if !args.Custom || !strings.HasPrefix(args.TypeToken, "gcp:") {
		return args.Name + "-id", state, nil
	}
	text := func(key, value string) { state[resource.PropertyKey(key)] = resource.NewProperty(value) }
	name := autoName(args.Name)
	if _, ok := state["name"]; !ok {
		text("name", name)
	}
	switch args.TypeToken {
	case "gcp:compute/globalAddress:GlobalAddress":
		text("address", "203.0.113.10")
	case "gcp:container/cluster:Cluster":
		text("endpoint", "198.51.100.1")
		state["masterAuth"] = resource.NewProperty(resource.PropertyMap{"clusterCaCertificate": resource.NewProperty("Y2E=")})
	case "gcp:serviceaccount/account:Account":
		text("email", state["accountId"].StringValue()+"@project.iam.gserviceaccount.com")
	case "gcp:secretmanager/secret:Secret":
		return "projects/project/secrets/" + state["secretId"].StringValue(), state, nil
	case "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig":
		text("uptimeCheckId", name)
	}
	return args.TypeToken + "/" + name, state, nil
}

func kubernetesState(args pulumi.MockResourceArgs, state resource.PropertyMap) (string, resource.PropertyMap, error) {
	child := func(key resource.PropertyKey) resource.PropertyMap {
		if v, ok := state[key]; ok && v.IsObject() {
			return v.ObjectValue()
		}
		made := resource.PropertyMap{}
		state[key] = resource.NewProperty(made)
		return made
	}
	meta := child("metadata")
	if _, ok := meta["name"]; !ok {
		meta["name"] = resource.NewProperty(autoName(args.Name))
	}
	switch args.TypeToken {
	case "kubernetes:core/v1:Service":
		if spec := child("spec"); spec["clusterIP"].IsNull() {
			sum := fnv.New32a()
			_, _ = sum.Write([]byte(args.Name)) // hash.Hash never fails
			spec["clusterIP"] = resource.NewProperty(fmt.Sprintf("10.30.0.%d", sum.Sum32()%250+1))
		}
	case "kubernetes:networking.k8s.io/v1:Ingress":
		ip := resource.NewProperty(resource.PropertyMap{"ip": resource.NewProperty("203.0.113.10")})
		child("status")["loadBalancer"] = resource.NewProperty(resource.PropertyMap{"ingress": resource.NewProperty([]resource.PropertyValue{ip})})
	}
	return args.Name, state, nil
}

// autoName is a name as engines make them: with a suffix, the same in each run.
func autoName(name string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name)) // hash.Hash never fails
	return fmt.Sprintf("%s-%07x", name, sum.Sum32()&0xfffffff)
}
