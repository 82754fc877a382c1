package iam

import (
	"context"
	"slices"
	"strings"

	"patag/infra/sandbox/googleapi"
)

// roles are the predefined roles that this project's programs grant or an operator is likely to look up. Google has about two
// thousand; bindings of others are accepted, only reading them is not.
var roles = [][3]string{
	{"roles/artifactregistry.reader", "Artifact Registry Reader", "Access to read repository items."},
	{"roles/artifactregistry.writer", "Artifact Registry Writer", "Access to read and write repository items."},
	{"roles/artifactregistry.admin", "Artifact Registry Administrator", "Administrator access to create and manage repositories."},
	{"roles/cloudtrace.agent", "Cloud Trace Agent", "For service accounts. Provides ability to write traces by sending the data to Cloud Trace."},
	{"roles/compute.admin", "Compute Admin", "Full control of all Compute Engine resources."},
	{"roles/compute.viewer", "Compute Viewer", "Read-only access to get and list information about all Compute Engine resources."},
	{"roles/compute.networkAdmin", "Compute Network Admin", "Full control of Compute Engine networking resources."},
	{"roles/container.admin", "Kubernetes Engine Admin", "Full management of Kubernetes Clusters and their Kubernetes API objects."},
	{"roles/container.clusterViewer", "Kubernetes Engine Cluster Viewer", "Get and list access to GKE Clusters."},
	{"roles/container.defaultNodeServiceAccount", "Kubernetes Engine Default Node Service Account", "Least privilege role to use as the default service account for GKE Nodes."},
	{"roles/container.developer", "Kubernetes Engine Developer", "Full access to Kubernetes API objects inside Kubernetes Clusters."},
	{"roles/container.nodeServiceAccount", "Kubernetes Engine Node Service Account", "Least privilege role to use as the service account for GKE Nodes."},
	{"roles/container.viewer", "Kubernetes Engine Viewer", "Read-only access to Kubernetes Engine resources."},
	{"roles/dns.admin", "DNS Administrator", "Full read-write access to DNS resources."},
	{"roles/dns.reader", "DNS Reader", "Read-only access to DNS resources."},
	{"roles/editor", "Editor", "View, create, update, and delete most Google Cloud resources."},
	{"roles/iam.serviceAccountAdmin", "Service Account Admin", "Create and manage service accounts."},
	{"roles/iam.serviceAccountTokenCreator", "Service Account Token Creator", "Impersonate service accounts (create OAuth2 access tokens, sign blobs or JWTs, etc)."},
	{"roles/iam.serviceAccountUser", "Service Account User", "Run operations as the service account."},
	{"roles/iam.workloadIdentityUser", "Workload Identity User", "Impersonate service accounts from federated workloads."},
	{"roles/logging.logWriter", "Logs Writer", "Access to write logs."},
	{"roles/logging.viewer", "Logs Viewer", "Access to view logs, except for logs with private contents."},
	{"roles/monitoring.admin", "Monitoring Admin", "All monitoring permissions."},
	{"roles/monitoring.metricWriter", "Monitoring Metric Writer", "Write-only access to metrics. This provides exactly the permissions needed by the Cloud Monitoring agent and other systems that send metrics."},
	{"roles/monitoring.viewer", "Monitoring Viewer", "Read-only access to get and list information about all monitoring data and configurations."},
	{"roles/owner", "Owner", "Full access to most Google Cloud resources. See the list of included permissions."},
	{"roles/secretmanager.admin", "Secret Manager Admin", "Full access to administer Secret Manager resources."},
	{"roles/secretmanager.secretAccessor", "Secret Manager Secret Accessor", "Allows accessing the payload of secrets."},
	{"roles/secretmanager.viewer", "Secret Manager Viewer", "Allows viewing metadata of all Secret Manager resources"},
	{"roles/stackdriver.resourceMetadata.writer", "Stackdriver Resource Metadata Writer", "Write-only access to resource metadata. This provides exactly the permissions needed by the Stackdriver metadata agent and other systems that send metadata."},
	{"roles/storage.admin", "Storage Admin", "Grants full control of buckets and objects."},
	{"roles/storage.objectAdmin", "Storage Object Admin", "Grants full control over objects, including listing, creating, viewing, and deleting objects."},
	{"roles/storage.objectCreator", "Storage Object Creator", "Allows users to create objects. Does not give permission to view, delete, or overwrite objects."},
	{"roles/storage.objectUser", "Storage Object User", "Access to create, read, update and delete objects and multipart uploads in GCS."},
	{"roles/storage.objectViewer", "Storage Object Viewer", "Grants access to view objects and their metadata, excluding ACLs. Can also list the objects in a bucket."},
	{"roles/viewer", "Viewer", "View most Google Cloud resources. See the list of included permissions."},
}

func role(r [3]string) googleapi.Doc {
	return googleapi.Doc{"name": r[0], "title": r[1], "description": r[2], "stage": "GA", "etag": "AA=="}
}

func (s *server) handleRoles(svc *googleapi.Service) {
	svc.Handle("GET", "v1/roles", func(_ context.Context, r *googleapi.Request) (any, error) {
		all := slices.Clone(roles)
		slices.SortFunc(all, func(a, b [3]string) int { return strings.Compare(a[0], b[0]) })
		page, err := googleapi.Paginate(r, all, func(x [3]string) string { return x[0] }, 300)
		if err != nil {
			return nil, err
		}
		var docs []googleapi.Doc
		for _, x := range page.Items {
			docs = append(docs, role(x))
		}
		out := googleapi.Doc{"roles": docs}
		if page.Next != "" {
			out["nextPageToken"] = page.Next
		}
		return out, nil
	})
	svc.Handle("GET", "v1/roles/{role}", func(_ context.Context, r *googleapi.Request) (any, error) {
		for _, x := range roles {
			if x[0] == "roles/"+r.Var("role") {
				return role(x), nil
			}
		}
		return nil, googleapi.NotFound("The role named roles/%s was not found.", r.Var("role"))
	})
	svc.Handle("GET", "v1/projects/{project}/roles", func(context.Context, *googleapi.Request) (any, error) {
		return nil, nil // custom roles cannot be made here, so there are none
	})
}
