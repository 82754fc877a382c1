package inside

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// watch knows which pod has an address, which service account it runs as, and which nodes there are.
type watch struct {
	client     kubernetes.Interface
	pods       cache.Indexer
	accounts   cache.Store
	nodes      cache.Store
	nodeChange chan struct{}
	// uid is that of the namespace kube-system, which stands for the cluster.
	uid string
}

const byIP = "ip"

func newWatch(ctx context.Context, client kubernetes.Interface) (*watch, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the namespace kube-system: %w", err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	pods, accounts, nodes := factory.Core().V1().Pods().Informer(), factory.Core().V1().ServiceAccounts().Informer(), factory.Core().V1().Nodes().Informer()
	if err := pods.AddIndexers(cache.Indexers{byIP: func(obj any) ([]string, error) { return addressesOf(obj), nil }}); err != nil {
		return nil, err
	}
	w := &watch{client: client, pods: pods.GetIndexer(), accounts: accounts.GetStore(), nodes: nodes.GetStore(), nodeChange: make(chan struct{}, 1), uid: string(ns.UID)}
	poke := func() {
		select {
		case w.nodeChange <- struct{}{}:
		default:
		}
	}
	_, err = nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { poke() }, DeleteFunc: func(any) { poke() }})
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return nil, fmt.Errorf("list %v: %w", kind, ctx.Err())
		}
	}
	return w, nil
}

// addressesOf are the addresses by which a pod can be told: none for pods of the node's own network and for ended
// ones, whose address may be another pod's by now.
func addressesOf(obj any) []string {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var out []string
	for _, ip := range pod.Status.PodIPs {
		out = append(out, ip.IP)
	}
	return out
}

// slim keeps of an object only what is asked for here.
func slim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, DeletionTimestamp: o.DeletionTimestamp},
			Spec:   corev1.PodSpec{HostNetwork: o.Spec.HostNetwork, NodeName: o.Spec.NodeName, ServiceAccountName: o.Spec.ServiceAccountName},
			Status: corev1.PodStatus{Phase: o.Status.Phase, PodIPs: o.Status.PodIPs}}, nil
	case *corev1.Node:
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, Labels: o.Labels}}, nil
	case *corev1.ServiceAccount:
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, Annotations: o.Annotations}}, nil
	}
	return obj, nil
}

// pod finds the pod that has an address. The watch may be a moment behind the kubelet, which starts a pod's containers
// right after it gave it the address: so the API server is asked before the answer is no.
func (w *watch) pod(ctx context.Context, ip netip.Addr, node string) (*corev1.Pod, error) {
	if found := w.lookup(ip); found != nil {
		return found, nil
	}
	// A kubelet tells the address of a new pod up to a second or two after the pod began to use it.
	ctx, cancel := context.WithTimeout(ctx, tellingTime)
	defer cancel()
	for {
		list, err := w.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
		if err != nil {
			return nil, fmt.Errorf("find the pod with address %s: %w", ip, err)
		}
		pending := false
		for i := range list.Items {
			p := &list.Items[i]
			pending = pending || len(addressesOf(p)) == 0 && !over(p)
			if slices.Contains(addressesOf(p), ip.String()) && !over(p) {
				return p, nil
			}
		}
		if !pending {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tellingTime is how long a caller waits while a pod of its node has no address yet.
const tellingTime = 5 * time.Second

// over says whether a pod has ended: its address may be another's by now.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func (w *watch) lookup(ip netip.Addr) *corev1.Pod {
	objects, err := w.pods.ByIndex(byIP, ip.String())
	if err != nil {
		return nil
	}
	var best *corev1.Pod
	for _, o := range objects { // the one on its way out has had the address before
		if p := o.(*corev1.Pod); !over(p) && (best == nil || best.DeletionTimestamp != nil && p.DeletionTimestamp == nil) {
			best = p
		}
	}
	return best
}

// account reads a Kubernetes service account; nil if there is none.
func (w *watch) account(namespace, name string) *corev1.ServiceAccount {
	if name == "" {
		name = "default"
	}
	obj, ok, err := w.accounts.GetByKey(namespace + "/" + name)
	if err != nil || !ok {
		return nil
	}
	return obj.(*corev1.ServiceAccount)
}
