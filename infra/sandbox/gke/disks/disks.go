// Package disks provides PersistentVolumes as GKE's storage classes do: a claim gets a persistent disk, which is a folder of
// the sandbox's state and a record among Compute Engine's disks. A disk belongs to a zone, outlives its pod, its node and
// its cluster, and goes when its claim is deleted. Its size is recorded, not enforced.
package disks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v11/controller"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/store"
)

// Provisioner is the name that the storage classes of GKE refer to.
const Provisioner = "pd.csi.storage.gke.io"

// zoneLabel is the one by which GKE binds volumes to zones.
const zoneLabel = "topology.gke.io/zone"

// The library registers the core types in client-go's global scheme each time a controller is made, which writes maps that the
// clients of other clusters read at that moment. They are registered already, since client-go's own start.
func init() {
	register := corev1.AddToScheme
	corev1.AddToScheme = func(s *runtime.Scheme) error {
		if s == scheme.Scheme {
			return nil
		}
		return register(s)
	}
}

// Controller is a cluster.Controller.
type Controller struct {
	store  *store.Store
	folder string
	logger *slog.Logger
}

// New makes the controller. folder holds one folder per disk.
func New(s *store.Store, folder string, logger *slog.Logger) *Controller {
	return &Controller{store: s, folder: folder, logger: logger}
}

// Name is described in package cluster.
func (c *Controller) Name() string { return "disks" }

// Run provides disks until ctx ends.
func (c *Controller) Run(ctx context.Context, r cluster.Running) error {
	client, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return err
	}
	// The library tells every step; only its warnings are of interest.
	quiet := logr.FromSlogHandler(atLeast{c.logger.With("cluster", r.Spec.Name).Handler()})
	ctx = klog.NewContext(ctx, quiet)
	p := &provisioner{c: c, spec: r.Spec}
	pc := controller.NewProvisionController(ctx, client, Provisioner, p,
		controller.LeaderElection(false),
		//lint:ignore SA1019 the library wants the untyped one
		controller.RateLimiter(workqueue.NewItemExponentialFailureRateLimiter(500*time.Millisecond, 30*time.Second)),
		// A claim is tried for as long as it exists, as on GKE.
		controller.FailedProvisionThreshold(0), controller.FailedDeleteThreshold(0),
	)
	go c.expandClaims(ctx, client, r.Spec)
	pc.Run(ctx)
	return ctx.Err()
}

// atLeast drops what is below a warning.
type atLeast struct{ slog.Handler }

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}
func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler { return atLeast{h.Handler.WithAttrs(a)} }
func (h atLeast) WithGroup(n string) slog.Handler      { return atLeast{h.Handler.WithGroup(n)} }

type provisioner struct {
	c    *Controller
	spec cluster.Cluster
}

// Provision makes a disk for a claim.
func (p *provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	pv, err := p.provision(o)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return pv, controller.ProvisioningFinished, nil
}

func (p *provisioner) provision(o controller.ProvisionOptions) (*corev1.PersistentVolume, error) {
	spec := o.PVC.Spec
	if spec.VolumeMode != nil && *spec.VolumeMode == corev1.PersistentVolumeBlock {
		return nil, errors.New("the sandbox has no block volumes: its disks are folders; use volumeMode Filesystem")
	}
	for _, mode := range spec.AccessModes {
		if mode == corev1.ReadWriteMany {
			return nil, errors.New("a persistent disk cannot be mounted ReadWriteMany; use ReadWriteOnce")
		}
	}
	zone := p.spec.Zones[0]
	if o.SelectedNode != nil {
		zone = o.SelectedNode.Labels["topology.kubernetes.io/zone"]
	}
	gib := gibOf(spec.Resources.Requests[corev1.ResourceStorage])
	d := disk{name: o.PVName, zone: zone, gib: gib, kind: o.StorageClass.Parameters["type"]}
	if d.kind == "" {
		d.kind = "pd-standard"
	}
	path := filepath.Join(p.c.folder, d.name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make the disk's folder: %w", err)
	}
	if err := p.c.record(p.spec, d, o.PVC); err != nil {
		return nil, fmt.Errorf("record disk %s: %w", d.name, err)
	}
	p.c.logger.Info("disk made", "cluster", p.spec.Name, "disk", d.name, "claim", o.PVC.Namespace+"/"+o.PVC.Name, "zone", zone)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: d.name},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   spec.AccessModes,
			MountOptions:                  o.StorageClass.MountOptions,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(gib<<30, resource.BinarySI)},
			// Local rather than a host path: it honours a pod's fsGroup, as a disk does.
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: zoneLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}},
			}}}},
		},
	}, nil
}

// Delete removes the disk of a volume.
func (p *provisioner) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	if pv.Spec.Local == nil || filepath.Dir(pv.Spec.Local.Path) != filepath.Clean(p.c.folder) {
		return &controller.IgnoredError{Reason: "it is not a disk of the sandbox"}
	}
	if err := os.RemoveAll(pv.Spec.Local.Path); err != nil {
		return fmt.Errorf("remove disk %s: %w", pv.Name, err)
	}
	if err := p.c.store.Delete(key(p.spec.Project, zoneOf(pv), filepath.Base(pv.Spec.Local.Path))); err != nil {
		return fmt.Errorf("remove the record of disk %s: %w", pv.Name, err)
	}
	p.c.logger.Info("disk deleted", "cluster", p.spec.Name, "disk", pv.Name)
	return nil
}

func zoneOf(pv *corev1.PersistentVolume) string {
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return ""
	}
	for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Key == zoneLabel && len(e.Values) == 1 {
				return e.Values[0]
			}
		}
	}
	return ""
}

// gibOf rounds up to whole GiB, as disks come, and at least 1.
func gibOf(q resource.Quantity) int64 { return max(1, (q.Value()+1<<30-1)>>30) }

type disk struct {
	name, zone, kind string
	gib              int64
}

func key(project, zone, name string) string {
	return "compute/projects/" + project + "/zones/" + zone + "/disks/" + name
}

// record writes the disk as Compute Engine shows one that GKE made.
func (c *Controller) record(spec cluster.Cluster, d disk, claim *corev1.PersistentVolumeClaim) error {
	description, err := json.Marshal(map[string]string{
		"kubernetes.io/created-for/pv/name":       d.name,
		"kubernetes.io/created-for/pvc/name":      claim.Name,
		"kubernetes.io/created-for/pvc/namespace": claim.Namespace,
		"storage.gke.io/created-by":               Provisioner,
	})
	if err != nil {
		return err
	}
	const base = "https://www.googleapis.com/compute/v1/"
	zone := base + "projects/" + spec.Project + "/zones/" + d.zone
	return c.store.Update(func(tx store.Tx) error {
		k := key(spec.Project, d.zone, d.name)
		if tx.Has(k) {
			return nil // made before an interruption
		}
		id, err := tx.Next()
		if err != nil {
			return err
		}
		return tx.Put(k, map[string]any{
			"kind": "compute#disk", "id": strconv.FormatUint(id, 10), "name": d.name, "description": string(description),
			"selfLink": base + strings.TrimPrefix(k, "compute/"), "zone": zone, "type": zone + "/diskTypes/" + d.kind,
			"sizeGb": strconv.FormatInt(d.gib, 10), "status": "READY", "physicalBlockSizeBytes": "4096",
			"creationTimestamp": time.Now().Format("2006-01-02T15:04:05.000-07:00"),
			"labelFingerprint":  "42WmSpB8rSM=",
			"labels": map[string]string{
				"goog-gke-volume": "", "goog-k8s-cluster-name": spec.Name, "goog-k8s-cluster-location": spec.Location,
				"goog-k8s-namespace": claim.Namespace,
			},
		})
	})
}
