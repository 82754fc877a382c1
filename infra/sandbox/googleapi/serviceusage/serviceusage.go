// Package serviceusage is Service Usage: which of Google's APIs a project has switched on. The sandbox remembers it; it does not refuse
// calls to an API that is off.
package serviceusage

import (
	"context"
	"regexp"
	"slices"
	"strings"

	v1 "google.golang.org/api/serviceusage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// titles are the services that can be switched on, by the first part of their names.
var titles = map[string]string{
	"artifactregistry": "Artifact Registry API", "autoscaling": "Cloud Autoscaling API", "bigquery": "BigQuery API", "bigquerystorage": "BigQuery Storage API",
	"billingbudgets": "Cloud Billing Budget API", "certificatemanager": "Certificate Manager API", "cloudapis": "Google Cloud APIs", "cloudasset": "Cloud Asset API",
	"cloudbilling": "Cloud Billing API", "cloudbuild": "Cloud Build API", "cloudfunctions": "Cloud Functions API", "cloudkms": "Cloud Key Management Service (KMS) API",
	"cloudresourcemanager": "Cloud Resource Manager API", "cloudscheduler": "Cloud Scheduler API", "cloudtrace": "Cloud Trace API", "compute": "Compute Engine API",
	"container": "Kubernetes Engine API", "containeranalysis": "Container Analysis API", "containerfilesystem": "Container File System API", "containerregistry": "Container Registry API",
	"containersecurity": "Container Security API", "deploymentmanager": "Cloud Deployment Manager V2 API", "dns": "Cloud DNS API", "eventarc": "Eventarc API", "file": "Cloud Filestore API",
	"firestore": "Cloud Firestore API", "gkebackup": "Backup for GKE API", "gkeconnect": "GKE Connect API", "gkehub": "GKE Hub API", "iam": "Identity and Access Management (IAM) API",
	"iamcredentials": "IAM Service Account Credentials API", "iap": "Cloud Identity-Aware Proxy API", "logging": "Cloud Logging API", "memcache": "Cloud Memorystore for Memcached API",
	"monitoring": "Cloud Monitoring API", "networkconnectivity": "Network Connectivity API", "networkmanagement": "Network Management API", "networksecurity": "Network Security API",
	"networkservices": "Network Services API", "opsconfigmonitoring": "Config Monitoring for Ops API", "oslogin": "Cloud OS Login API", "pubsub": "Cloud Pub/Sub API",
	"recommender": "Recommender API", "redis": "Google Cloud Memorystore for Redis API", "run": "Cloud Run Admin API", "secretmanager": "Secret Manager API", "servicecontrol": "Service Control API",
	"servicedirectory": "Service Directory API", "servicemanagement": "Service Management API", "servicenetworking": "Service Networking API", "serviceusage": "Service Usage API",
	"sourcerepo": "Cloud Source Repositories API", "sqladmin": "Cloud SQL Admin API", "stackdriver": "Stackdriver API", "storage": "Cloud Storage API", "storage-api": "Google Cloud Storage JSON API",
	"storage-component": "Cloud Storage", "storagetransfer": "Storage Transfer API", "sts": "Security Token Service API", "telemetry": "Telemetry (OTLP) API", "tpu": "Cloud TPU API",
	"vpcaccess": "Serverless VPC Access API", "websecurityscanner": "Web Security Scanner API", "workflows": "Workflows API",
}

// standard are those that are on in every new project.
var standard = []string{"bigquery", "bigquerystorage", "cloudapis", "cloudtrace", "logging", "monitoring", "servicemanagement", "serviceusage", "storage", "storage-api", "storage-component"}

type server struct {
	core *googleapi.Core
	svc  *googleapi.Service
}

// Register serves Service Usage, versions v1 and v1beta1, whose calls in use are the same.
func Register(core *googleapi.Core) {
	s := &server{core, core.Service("serviceusage")}
	services := "{version=v1|v1beta1}/projects/{project}/services"
	s.svc.Handle("GET", services, s.list)
	s.svc.Handle("GET", services+":batchGet", s.batchGet)
	s.svc.Handle("GET", services+"/{service}", s.get)
	s.svc.Handle("POST", services+"/{service*}:enable", s.enable)
	s.svc.Handle("POST", services+"/{service*}:disable", s.disable)
	s.svc.Handle("POST", services+":batchEnable", s.batchEnable)
	s.svc.HandleOperations("v1")
	s.svc.HandleOperations("v1beta1")
}

var serviceName = regexp.MustCompile(`^([a-z0-9-]+)\.googleapis\.com$`)

// known gives the short name of a service that can be switched on here.
func known(name string) (string, error) {
	m := serviceName.FindStringSubmatch(name)
	if m == nil {
		return "", &googleapi.Error{Code: 403, Status: "PERMISSION_DENIED", Reason: "forbidden", Message: "Not found or permission denied for service(s): " + name + "."}
	}
	if titles[m[1]] == "" {
		return "", googleapi.Unimplemented("The sandbox does not know the service %s (services.enable, services.get).", name)
	}
	return m[1], nil
}

func (s *server) project(r *googleapi.Request) (string, error) {
	id, ok := s.core.Project(r.Var("project"))
	if !ok {
		return "", googleapi.PermissionDenied("Permission denied on resource project %s.", r.Var("project"))
	}
	return id, nil
}

func key(project, short string) string {
	return "serviceusage/projects/" + project + "/services/" + short + ".googleapis.com"
}

// state tells whether a service is on. A key holds true or false; without one the default counts.
func state(tx store.Tx, project, short string) (bool, error) {
	on := slices.Contains(standard, short)
	_, err := tx.Get(key(project, short), &on)
	return on, err
}

func service(project, short string, on bool) googleapi.Doc {
	parent := "projects/" + googleapi.ProjectNumber(project)
	name := short + ".googleapis.com"
	d := googleapi.Doc{"name": parent + "/services/" + name, "parent": parent, "state": "DISABLED",
		"config": googleapi.Doc{"name": name, "title": titles[short], "documentation": googleapi.Doc{}, "quota": googleapi.Doc{}, "authentication": googleapi.Doc{}, "usage": googleapi.Doc{}}}
	if on {
		d["state"] = "ENABLED"
	}
	return d
}

func (s *server) get(_ context.Context, r *googleapi.Request) (any, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	docs, err := s.read(project, []string{r.Var("service")})
	if err != nil {
		return nil, err
	}
	return docs[0], nil
}

func (s *server) read(project string, names []string) ([]googleapi.Doc, error) {
	var docs []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		for _, name := range names {
			short, err := known(name)
			if err != nil {
				return err
			}
			on, err := state(tx, project, short)
			if err != nil {
				return err
			}
			docs = append(docs, service(project, short, on))
		}
		return nil
	})
	return docs, err
}

func (s *server) batchGet(_ context.Context, r *googleapi.Request) (any, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, full := range r.HTTP.URL.Query()["names"] {
		names = append(names, full[strings.LastIndex(full, "/")+1:])
	}
	docs, err := s.read(project, names)
	return googleapi.Doc{"services": docs}, err
}

func (s *server) list(_ context.Context, r *googleapi.Request) (any, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	want := ""
	switch f := strings.ReplaceAll(r.Query("filter"), " ", ""); f {
	case "":
	case "state:ENABLED", "state:DISABLED":
		want = strings.TrimPrefix(f, "state:")
	default:
		return nil, googleapi.InvalidArgument("Invalid filter %q: the allowed filters are state:ENABLED and state:DISABLED.", r.Query("filter"))
	}
	var names []string
	for short := range titles {
		names = append(names, short+".googleapis.com")
	}
	slices.Sort(names)
	all, err := s.read(project, names)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d googleapi.Doc) bool { return want != "" && d.String("state") != want })
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("name") }, 200)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{}
	if len(page.Items) > 0 {
		out["services"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

// set switches services on or off and answers with an operation that is done.
func (s *server) set(r *googleapi.Request, names []string, on bool, answer func(docs []googleapi.Doc) (typ string, d googleapi.Doc)) (any, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	var op googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		var docs []googleapi.Doc
		for _, name := range names {
			short, err := known(name)
			if err != nil {
				return err
			}
			if err := tx.Put(key(project, short), on); err != nil {
				return err
			}
			docs = append(docs, service(project, short, on))
		}
		typ, d := answer(docs)
		var err error
		op, err = s.svc.DoneOperation(tx, "", "google.api.serviceusage.v1.OperationMetadata", googleapi.Doc{}, typ, d)
		return err
	})
	return op, err
}

func (s *server) enable(_ context.Context, r *googleapi.Request) (any, error) {
	if err := r.Decode(&v1.EnableServiceRequest{}); err != nil {
		return nil, err
	}
	return s.set(r, []string{r.Var("service")}, true, func(docs []googleapi.Doc) (string, googleapi.Doc) {
		return "google.api.serviceusage.v1.EnableServiceResponse", googleapi.Doc{"service": docs[0]}
	})
}

func (s *server) disable(_ context.Context, r *googleapi.Request) (any, error) {
	if err := r.Decode(&v1.DisableServiceRequest{}); err != nil {
		return nil, err
	}
	return s.set(r, []string{r.Var("service")}, false, func(docs []googleapi.Doc) (string, googleapi.Doc) {
		return "google.api.serviceusage.v1.DisableServiceResponse", googleapi.Doc{"service": docs[0]}
	})
}

func (s *server) batchEnable(_ context.Context, r *googleapi.Request) (any, error) {
	var body v1.BatchEnableServicesRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if len(body.ServiceIds) == 0 || len(body.ServiceIds) > 20 {
		return nil, googleapi.InvalidArgument("service_ids must have 1 to 20 entries.")
	}
	return s.set(r, body.ServiceIds, true, func(docs []googleapi.Doc) (string, googleapi.Doc) {
		return "google.api.serviceusage.v1.BatchEnableServicesResponse", googleapi.Doc{"services": docs}
	})
}
