package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// view is what is known of one cluster, kept up to date by watches.
type view struct {
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	ingresses networkinglisters.IngressLister
	custom    map[schema.GroupVersionResource]cache.SharedIndexInformer
	names     names
}

// openView starts the watches and returns when the first lists are there; wake is called at every change.
func openView(ctx context.Context, config *rest.Config, wake func()) (*view, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the namespace kube-system: %w", err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	v := &view{client: client, dynamic: dyn, names: newNames(string(ns.UID)),
		services: factory.Core().V1().Services().Lister(), slices: factory.Discovery().V1().EndpointSlices().Lister(),
		ingresses: factory.Networking().V1().Ingresses().Lister(), custom: map[schema.GroupVersionResource]cache.SharedIndexInformer{}}
	notify := cache.ResourceEventHandlerFuncs{AddFunc: func(any) { wake() }, UpdateFunc: func(_, _ any) { wake() }, DeleteFunc: func(any) { wake() }}
	for _, informer := range []cache.SharedIndexInformer{factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer(), factory.Networking().V1().Ingresses().Informer()} {
		if _, err := informer.AddEventHandler(notify); err != nil {
			return nil, err
		}
	}
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return nil, fmt.Errorf("list %v: %w", kind, errors.Join(ctx.Err(), errNotSynced))
		}
	}
	// A cluster may have no such definitions yet; the watches then wait for them without holding anything up.
	dynFactory := dynamicinformer.NewDynamicSharedInformerFactory(dyn, 0)
	for _, gvr := range []schema.GroupVersionResource{backendConfigs, frontendConfigs, managedCerts} {
		informer := dynFactory.ForResource(gvr).Informer()
		_ = informer.SetWatchErrorHandler(func(*cache.Reflector, error) {}) // before the definition exists: not found
		if _, err := informer.AddEventHandler(notify); err != nil {
			return nil, err
		}
		v.custom[gvr] = informer
	}
	dynFactory.Start(ctx.Done())
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	dynFactory.WaitForCacheSync(wait.Done())
	return v, nil
}

var errNotSynced = errors.New("the API server did not answer")

// slim drops what is never looked at, which is most of an object.
func slim(obj any) (any, error) {
	if o, ok := obj.(metav1.Object); ok {
		o.SetManagedFields(nil)
	}
	return obj, nil
}

// object finds a custom resource. It asks the API server if the watch does not know it, which is the case when the
// definition has just been made.
func (v *view) object(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	if item, exists, err := v.custom[gvr].GetStore().GetByKey(namespace + "/" + name); err == nil && exists {
		return item.(*unstructured.Unstructured), nil
	}
	return v.dynamic.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
}

// port finds a Service's port as an Ingress names it.
func port(svc *corev1.Service, ref networkingv1.ServiceBackendPort) (corev1.ServicePort, error) {
	for _, p := range svc.Spec.Ports {
		if ref.Name != "" && p.Name == ref.Name || ref.Name == "" && p.Port == ref.Number {
			return p, nil
		}
	}
	wanted := ref.Name
	if wanted == "" {
		wanted = fmt.Sprint(ref.Number)
	}
	return corev1.ServicePort{}, fmt.Errorf("could not find port %q in service %q", wanted, svc.Namespace+"/"+svc.Name)
}

// podPort is one address behind a Service's port.
type podPort struct {
	address, zone, node, pod string
	port                     int32
}

// endpoints lists the pods behind a Service's port that are ready and not on their way out.
func (v *view) endpoints(svc *corev1.Service, p corev1.ServicePort) ([]podPort, error) {
	list, err := v.slices.EndpointSlices(svc.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: svc.Name}))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var out []podPort
	for _, s := range list {
		if s.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		number := int32(0)
		for _, sp := range s.Ports {
			if sp.Port != nil && (sp.Name == nil && p.Name == "" || sp.Name != nil && *sp.Name == p.Name) {
				number = *sp.Port
			}
		}
		if number == 0 {
			continue
		}
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready || e.Conditions.Terminating != nil && *e.Conditions.Terminating {
				continue
			}
			for _, a := range e.Addresses {
				if seen[a] {
					continue
				}
				seen[a] = true
				ep := podPort{address: a, port: number}
				if e.Zone != nil {
					ep.zone = *e.Zone
				}
				if e.NodeName != nil {
					ep.node = *e.NodeName
				}
				if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
					ep.pod = e.TargetRef.Name
				}
				out = append(out, ep)
			}
		}
	}
	return out, nil
}

// readiness is the HTTP readiness probe of the container that listens on the port; GKE derives the health check from
// it when no BackendConfig says otherwise.
func (v *view) readiness(ctx context.Context, namespace string, ep podPort) (*corev1.Probe, error) {
	if ep.pod == "" {
		return nil, nil
	}
	pod, err := v.client.CoreV1().Pods(namespace).Get(ctx, ep.pod, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pod %s/%s for its readiness probe: %w", namespace, ep.pod, err)
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.ContainerPort != ep.port || c.ReadinessProbe == nil || c.ReadinessProbe.HTTPGet == nil {
				continue
			}
			target := c.ReadinessProbe.HTTPGet.Port
			if target.IntVal == ep.port || target.StrVal != "" && target.StrVal == p.Name {
				return c.ReadinessProbe, nil
			}
		}
	}
	return nil, nil
}
