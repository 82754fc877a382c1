package compute

import (
	"context"
	"strings"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// instances are the nodes' virtual machines, written by Materialise.
func (s *Service) instances() *kind {
	return &kind{
		collection: "instances", kind: "compute#instance", list: "compute#instanceList", scopes: []string{"zones"}, like: api.Instance{},
		refs: []string{"networkInterfaces.network", "networkInterfaces.subnetwork", "disks.source", "resourcePolicies"},
		delete: func(ctx context.Context, r *googleapi.Request) (any, error) {
			path := restPath(r)
			var d googleapi.Doc
			if found, err := s.core.Store().Get("compute/"+path, &d); err != nil {
				return nil, err
			} else if !found {
				return nil, notFound(path)
			}
			if d.Bool("deletionProtection") {
				return nil, googleapi.InvalidArgument("Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'.")
			}
			if s.options.DeleteInstance == nil {
				return nil, googleapi.Unimplemented("The sandbox does not simulate compute.instances.delete for '%s': resize its node pool instead.", path)
			}
			if err := s.options.DeleteInstance(ctx, path); err != nil {
				return nil, err
			}
			var op googleapi.Doc
			err := s.core.Store().Update(func(tx store.Tx) (err error) {
				op, err = s.operation(tx, r, "delete", path, d.String("id"))
				return err
			})
			return op, err
		},
	}
}

// members are the machines of an instance group: those of its zone whose createdBy is the group's manager.
func members(tx store.Tx, groupPath string) ([]googleapi.Doc, error) {
	parts := strings.Split(groupPath, "/")
	all, err := googleapi.Children(tx, "compute/"+strings.Join(parts[:4], "/")+"/instances")
	if err != nil {
		return nil, err
	}
	var out []googleapi.Doc
	for _, d := range all {
		for _, item := range d.Docs("metadata", "items") {
			if item.String("key") == "created-by" && Base(item.String("value")) == parts[len(parts)-1] {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

func (s *Service) instanceGroups() *kind {
	return &kind{
		collection: "instanceGroups", kind: "compute#instanceGroup", list: "compute#instanceGroupList", label: "instance_group",
		scopes: []string{"zones"}, like: api.InstanceGroup{}, deletable: true, refs: []string{"network", "subnetwork"},
		read: func(tx store.Tx, d googleapi.Doc) error {
			m, err := members(tx, Path(d.String("selfLink")))
			d["size"] = len(m)
			return err
		},
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"POST listInstances": func(c *call, d googleapi.Doc) (any, error) {
				if _, err := c.r.DecodeDoc(api.InstanceGroupsListInstancesRequest{}); err != nil {
					return nil, err
				}
				m, err := members(c.tx, c.path)
				items := []any{}
				for _, i := range m {
					items = append(items, googleapi.Doc{"instance": i["selfLink"], "status": i["status"]})
				}
				return googleapi.Doc{"kind": "compute#instanceGroupsListInstances", "id": c.path, "items": items}, err
			},
		},
	}
}

func (s *Service) instanceGroupManagers() *kind {
	return &kind{
		collection: "instanceGroupManagers", kind: "compute#instanceGroupManager", list: "compute#instanceGroupManagerList", label: "instance_group_manager",
		scopes: []string{"zones"}, like: api.InstanceGroupManager{}, deletable: true, refs: []string{"instanceGroup", "instanceTemplate"},
		read: func(tx store.Tx, d googleapi.Doc) error {
			path := Path(d.String("selfLink"))
			m, err := members(tx, path)
			d["currentActions"] = googleapi.Doc{"none": len(m)}
			return err
		},
		complete: func(d googleapi.Doc) {
			have := int(d.Doc("currentActions").Int("none"))
			want := have
			if s.options.GroupSize != nil {
				if n, ok := s.options.GroupSize(Path(d.String("selfLink"))); ok {
					want = n
				}
			}
			d["targetSize"] = want
			actions := googleapi.Doc{"none": min(have, want), "creating": max(0, want-have), "deleting": max(0, have-want)}
			for _, a := range []string{"abandoning", "creatingWithoutRetries", "recreating", "refreshing", "restarting", "resuming", "starting", "stopping", "suspending", "verifying"} {
				actions[a] = 0
			}
			d["currentActions"] = actions
			d["status"] = googleapi.Doc{"isStable": have == want, "stateful": googleapi.Doc{"hasStatefulConfig": false}, "versionTarget": googleapi.Doc{"isReached": true}}
		},
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"POST listManagedInstances": func(c *call, d googleapi.Doc) (any, error) {
				m, err := members(c.tx, c.path)
				items := []any{}
				for _, i := range m {
					items = append(items, googleapi.Doc{"instance": i["selfLink"], "id": i["id"], "name": i["name"], "instanceStatus": i["status"], "currentAction": "NONE"})
				}
				return googleapi.Doc{"managedInstances": items}, err
			},
		},
	}
}
