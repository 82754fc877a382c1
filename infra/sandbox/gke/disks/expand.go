package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/store"
)

// expandClaims carries out what GKE's resizer does: a claim that asks for more than its volume has gets it. It also removes
// the contents of disks whose records were deleted through the API.
func (c *Controller) expandClaims(ctx context.Context, client kubernetes.Interface, spec cluster.Cluster) {
	for t := time.NewTicker(5 * time.Second); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if err := c.expandOnce(ctx, client, spec); err != nil && ctx.Err() == nil {
			c.logger.Warn("claims were not expanded; it is tried again", "cluster", spec.Name, "error", err)
		}
		if err := c.Sweep(); err != nil {
			c.logger.Warn("contents of deleted disks were not removed; it is tried again", "error", err)
		}
	}
}

func (c *Controller) expandOnce(ctx context.Context, client kubernetes.Interface, spec cluster.Cluster) error {
	claims, err := client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	for i := range claims.Items {
		claim := &claims.Items[i]
		want, have := claim.Spec.Resources.Requests[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
		if claim.Status.Phase != corev1.ClaimBound || want.Cmp(have) <= 0 {
			continue
		}
		if err := c.expand(ctx, client, spec, claim, gibOf(want)); err != nil {
			return fmt.Errorf("expand claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	return nil
}

func (c *Controller) expand(ctx context.Context, client kubernetes.Interface, spec cluster.Cluster, claim *corev1.PersistentVolumeClaim, gib int64) error {
	pv, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if pv.Spec.Local == nil || filepath.Dir(pv.Spec.Local.Path) != filepath.Clean(c.folder) {
		return nil
	}
	size := *resource.NewQuantity(gib<<30, resource.BinarySI)
	err = c.store.Update(func(tx store.Tx) error {
		k := key(spec.Project, zoneOf(pv), filepath.Base(pv.Spec.Local.Path))
		var d map[string]any
		if found, err := tx.Get(k, &d); err != nil || !found {
			return err
		}
		d["sizeGb"] = strconv.FormatInt(gib, 10)
		return tx.Put(k, d)
	})
	if err != nil {
		return err
	}
	pv.Spec.Capacity[corev1.ResourceStorage] = size
	if _, err := client.CoreV1().PersistentVolumes().Update(ctx, pv, metav1.UpdateOptions{}); err != nil {
		return err
	}
	claim.Status.Capacity[corev1.ResourceStorage] = size
	_, err = client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	if err == nil {
		c.logger.Info("disk expanded", "cluster", spec.Name, "claim", claim.Namespace+"/"+claim.Name, "gib", gib)
	}
	return err
}

// young is the age below which a folder without a record may be one that is just being made.
const young = time.Minute

// Sweep removes the folders of disks that have no record any more: they were deleted through the API.
func (c *Controller) Sweep() error {
	entries, err := os.ReadDir(c.folder)
	if errors.Is(err, fs.ErrNotExist) || len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	recorded := map[string]bool{}
	err = c.store.View(func(tx store.Tx) error {
		return tx.List("compute/projects/", func(k string, _ []byte) error {
			if i := strings.Index(k, "/disks/"); i >= 0 {
				recorded[k[i+len("/disks/"):]] = true
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || recorded[e.Name()] || time.Since(info.ModTime()) < young {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.folder, e.Name())); err != nil {
			return err
		}
		c.logger.Info("contents of a deleted disk removed", "disk", e.Name())
	}
	return nil
}
