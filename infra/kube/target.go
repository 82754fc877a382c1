// Package kube is what every Kubernetes resource of the platform has in common: which cluster it goes to and goes
// with (Target), the security context that the restricted Pod Security Standard wants, and the building blocks of
// NetworkPolicies. It makes no resource itself.
package kube

import (
	"fmt"

	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Target is where Kubernetes resources go.
type Target struct {
	Provider pulumi.ProviderResource
	// Cluster is the GKE cluster as a resource: what lies in it is deleted with it, not one by one, and not at all
	// when it cannot be reached.
	Cluster   pulumi.Resource
	Namespace pulumi.StringInput
	// Ready are resources without which no pod runs: node pools, NAT, the namespace's policies.
	Ready []pulumi.Resource
}

// Check says whether the target is complete, on behalf of a component.
func (t *Target) Check(component string) error {
	if t == nil || t.Provider == nil || t.Cluster == nil || t.Namespace == nil {
		return fmt.Errorf("%s: a Target with Provider, Cluster and Namespace is required", component)
	}
	return nil
}

// In gives the options of a resource in the target.
func (t *Target) In(parent pulumi.Resource, more ...pulumi.ResourceOption) []pulumi.ResourceOption {
	return append([]pulumi.ResourceOption{pulumi.Parent(parent), pulumi.Provider(t.Provider), pulumi.DeletedWith(t.Cluster)}, more...)
}

// Running gives the options of a resource that is not ready before pods run.
func (t *Target) Running(parent pulumi.Resource, more ...pulumi.ResourceOption) []pulumi.ResourceOption {
	return t.In(parent, append([]pulumi.ResourceOption{pulumi.DependsOn(t.Ready)}, more...)...)
}

// Labels of the pods of a part, and what selects them.
func Labels(part string) pulumi.StringMap {
	return pulumi.StringMap{"app.kubernetes.io/name": pulumi.String(part), "app.kubernetes.io/part-of": pulumi.String("patag")}
}

// Selector selects the pods of a part.
func Selector(part string) *metav1.LabelSelectorArgs {
	return &metav1.LabelSelectorArgs{MatchLabels: pulumi.StringMap{"app.kubernetes.io/name": pulumi.String(part)}}
}

// Meta is the metadata of a resource with a name that others refer to. Resources without such a name are auto-named:
// a changed ConfigMap or Secret is then another one, and the pods that mount it roll.
func (t *Target) Meta(name, part string) *metav1.ObjectMetaArgs {
	return &metav1.ObjectMetaArgs{Name: pulumi.String(name), Namespace: t.Namespace, Labels: Labels(part)}
}

// ServiceMeta is the metadata of a Service. The engine does not wait for its endpoints: that takes it ten seconds after
// the last of them changed, and what needs them to be there depends on the workload behind the Service.
func (t *Target) ServiceMeta(name, part string) *metav1.ObjectMetaArgs {
	meta := t.Meta(name, part)
	meta.Annotations = pulumi.StringMap{"pulumi.com/skipAwait": pulumi.String("true")}
	return meta
}

// AutoNamed is the metadata of a resource whose name is made from Pulumi's.
func (t *Target) AutoNamed(part string) *metav1.ObjectMetaArgs {
	return &metav1.ObjectMetaArgs{Namespace: t.Namespace, Labels: Labels(part)}
}
