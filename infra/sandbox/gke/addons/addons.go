// Package addons installs what GKE has installed in every cluster: the addresses of cluster DNS and of the metrics API,
// whose servers run in the control plane, the storage classes and Google's own resource types.
package addons

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

//go:embed manifests
var manifests embed.FS

// Values are what the manifests need to know of a cluster.
type Values struct {
	// Gateway is where DNS (53) and metrics (MetricsPort) are served, DNS the service address of the first.
	Gateway, DNS netip.Addr
	MetricsPort  int
	// CA is the certificate of the cluster's authority, PEM.
	CA []byte
}

// CABundle is CA as objects carry it.
func (v Values) CABundle() string { return base64.StdEncoding.EncodeToString(v.CA) }

// resources tells where objects of a kind live. Looking it up in the API would cost a request per group.
var resources = map[string]string{
	"APIService":               "apiservices",
	"ClusterRole":              "clusterroles",
	"ClusterRoleBinding":       "clusterrolebindings",
	"CustomResourceDefinition": "customresourcedefinitions",
	"EndpointSlice":            "endpointslices",
	"RoleBinding":              "rolebindings",
	"Service":                  "services",
	"StorageClass":             "storageclasses",
}

// Install brings all add-ons to their wanted state and returns when the resource types are served.
func Install(ctx context.Context, config *rest.Config, v Values) error {
	objects, err := render(v)
	if err != nil {
		return fmt.Errorf("render add-ons: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, o := range objects {
		g.Go(func() error {
			if err := apply(ctx, client, o); err != nil {
				return fmt.Errorf("install %s %s: %w", o.GetKind(), o.GetName(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

func render(v Values) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	err := fs.WalkDir(manifests, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := manifests.ReadFile(path)
		if err != nil {
			return err
		}
		t, err := template.New(path).Option("missingkey=error").Parse(string(raw))
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, v); err != nil {
			return err
		}
		for d := yaml.NewYAMLOrJSONDecoder(&text, 4096); ; {
			o := &unstructured.Unstructured{}
			err := d.Decode(&o.Object)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if resources[o.GetKind()] == "" {
				return fmt.Errorf("%s: kind %q is not in the table of resources", path, o.GetKind())
			}
			objects = append(objects, o)
		}
	})
	return objects, err
}

func apply(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured) error {
	gvk := o.GroupVersionKind()
	all := client.Resource(schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: resources[gvk.Kind]})
	var where dynamic.ResourceInterface = all
	if ns := o.GetNamespace(); ns != "" {
		where = all.Namespace(ns)
	}
	// kube-system is made by the API server itself, a moment after it says that it is ready.
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := where.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "gke", Force: true})
		if err == nil {
			break
		}
		if !passing(err) || time.Now().After(deadline) {
			return err
		}
		if err := sleep(ctx); err != nil {
			return err
		}
	}
	if gvk.Kind != "CustomResourceDefinition" {
		return nil
	}
	for {
		got, err := where.Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if established(got) {
			return nil
		}
		if err := sleep(ctx); err != nil {
			return fmt.Errorf("wait until it is served: %w", err)
		}
	}
}

// passing tells whether an error is of the kind that an API server gives in its first seconds, or no answer of one at
// all: connections to its predecessor break in many ways.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return true
	}
	return apierrors.IsNotFound(err) || apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsForbidden(err)
}

func established(o *unstructured.Unstructured) bool {
	// An error is a status without conditions, which are null at first.
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
