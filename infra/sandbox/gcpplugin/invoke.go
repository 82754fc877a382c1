package gcpplugin

import (
	"context"
	"encoding/json"
	"fmt"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// Invoke answers the functions that need no resource. Others are an error that names them.
func (p *Provider) Invoke(ctx context.Context, req *pulumirpc.InvokeRequest) (*pulumirpc.InvokeResponse, error) {
	manager, conf, err := p.configured()
	if err != nil {
		return nil, err
	}
	args, err := value.Decode(req.GetArgs())
	if err != nil {
		return nil, err
	}
	ctx, cancel := p.working(ctx)
	defer cancel()
	var out value.Map
	secret := map[string]bool{}
	switch req.GetTok() {
	case "gcp:organizations/getClientConfig:getClientConfig":
		out = value.Map{"id": fmt.Sprintf("projects/%q/regions/%q/zones/%q", conf.place.Project, conf.place.Region, conf.place.Zone),
			"project": conf.place.Project, "region": conf.place.Region, "zone": conf.place.Zone,
			"defaultLabels": conf.defaultLabels, "accessToken": conf.accessToken}
		secret["accessToken"] = true
	case "gcp:organizations/getProject:getProject":
		project, _ := args.Map["projectId"].(string)
		if project == "" {
			project = conf.place.Project
		}
		if project == "" {
			return nil, status.Error(codes.InvalidArgument, "getProject: projectId is not given and gcp:project is not set")
		}
		if out, err = getProject(ctx, manager.Client, project); err != nil {
			return nil, status.Error(codes.Unknown, err.Error())
		}
		secret["effectiveLabels"], secret["pulumiLabels"] = true, true
	default:
		return nil, status.Errorf(codes.Unimplemented, "the function %s is not supported by this plugin; it has "+
			"gcp:organizations/getProject:getProject and gcp:organizations/getClientConfig:getClientConfig", req.GetTok())
	}
	props, err := value.Tree{Map: out, Secret: secret}.Encode()
	return &pulumirpc.InvokeResponse{Return: props}, err
}

func getProject(ctx context.Context, client *google.Client, project string) (value.Map, error) {
	answer, err := client.Do(ctx, google.Request{Method: "GET", Service: "resourcemanager", Path: "projects/" + project})
	if err != nil {
		return nil, fmt.Errorf("read project %q: %w", project, err)
	}
	labels, _ := answer["labels"].(value.Map)
	if labels == nil {
		labels = value.Map{}
	}
	out := value.Map{"id": "projects/" + project, "projectId": project, "name": answer["name"], "number": answer["projectNumber"],
		"orgId": "", "folderId": "", "billingAccount": "", "autoCreateNetwork": true, "skipDelete": true,
		"labels": labels, "effectiveLabels": labels, "pulumiLabels": labels}
	if parent, ok := answer["parent"].(value.Map); ok {
		switch parent["type"] {
		case "organization":
			out["orgId"] = parent["id"]
		case "folder":
			out["folderId"] = parent["id"]
		}
	}
	return out, nil
}

// GetSchema lists the types with the names and kinds of their properties. Nested objects are left open: programs
// are compiled against the SDK of the official plugin, which has the full schema.
func (p *Provider) GetSchema(context.Context, *pulumirpc.GetSchemaRequest) (*pulumirpc.GetSchemaResponse, error) {
	resources := map[string]any{}
	for _, token := range description.Tokens() {
		t, err := description.Lookup(token)
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		inputs, outputs, required := map[string]any{}, map[string]any{}, []string{}
		for _, prop := range t.Root.Children {
			outputs[prop.Name] = schemaType(prop.Kind, prop.Elem, prop.Secret)
			if prop.Output {
				continue
			}
			inputs[prop.Name] = schemaType(prop.Kind, prop.Elem, prop.Secret)
			if prop.Required && (t.Name == nil || t.Name.Property != prop.Name) {
				required = append(required, prop.Name)
			}
		}
		resources[token] = map[string]any{"inputProperties": inputs, "properties": outputs, "requiredInputs": required}
	}
	raw, err := json.Marshal(map[string]any{"name": "gcp", "version": Version, "resources": resources})
	return &pulumirpc.GetSchemaResponse{Schema: string(raw)}, err
}

func schemaType(kind, elem description.Kind, secret bool) map[string]any {
	out := map[string]any{}
	switch kind {
	case description.Int:
		out["type"] = "integer"
	case description.Float:
		out["type"] = "number"
	case description.Bool:
		out["type"] = "boolean"
	case description.String:
		out["type"] = "string"
	case description.List, description.Set:
		out["type"], out["items"] = "array", schemaType(elem, "", false)
	case description.Map:
		out["type"], out["additionalProperties"] = "object", schemaType(elem, "", false)
	case description.Asset:
		out["$ref"] = "pulumi.json#/Asset"
	default:
		out["type"], out["additionalProperties"] = "object", map[string]any{"$ref": "pulumi.json#/Any"}
	}
	if secret {
		out["secret"] = true
	}
	return out
}
