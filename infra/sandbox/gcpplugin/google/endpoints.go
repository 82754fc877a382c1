package google

import (
	"fmt"
	"strings"
)

// Service is one of Google's APIs, as the provider's configuration names it.
type Service struct {
	// Key begins the config key <Key>CustomEndpoint, Env is in GOOGLE_<Env>_CUSTOM_ENDPOINT.
	Key, Env string
	// Default is the address without an override.
	Default string
}

// Services by the names that descriptions use.
var Services = map[string]Service{
	"compute":           {"compute", "COMPUTE", "https://compute.googleapis.com/compute/beta/"},
	"container":         {"container", "CONTAINER", "https://container.googleapis.com/v1beta1/"},
	"storage":           {"storage", "STORAGE", "https://storage.googleapis.com/storage/v1/"},
	"iam":               {"iam", "IAM", "https://iam.googleapis.com/v1/"},
	"resourcemanager":   {"resourceManager", "RESOURCE_MANAGER", "https://cloudresourcemanager.googleapis.com/v1/"},
	"resourcemanagerv3": {"resourceManagerV3", "RESOURCE_MANAGER_V3", "https://cloudresourcemanager.googleapis.com/v3/"},
	"artifactregistry":  {"artifactRegistry", "ARTIFACT_REGISTRY", "https://artifactregistry.googleapis.com/v1/"},
	"logging":           {"logging", "LOGGING", "https://logging.googleapis.com/v2/"},
	"monitoring":        {"monitoring", "MONITORING", "https://monitoring.googleapis.com/"},
	"dns":               {"dns", "DNS", "https://dns.googleapis.com/dns/v1beta2/"},
	"secretmanager":     {"secretManager", "SECRET_MANAGER", "https://secretmanager.googleapis.com/v1/"},
	"serviceusage":      {"serviceUsage", "SERVICE_USAGE", "https://serviceusage.googleapis.com/v1beta1/"},
	"billing":           {"billing", "BILLING", "https://billingbudgets.googleapis.com/v1/"},
}

// Endpoints are the overrides, by service.
type Endpoints map[string]string

// Base is the address of a service, ending in a slash.
func (e Endpoints) Base(service string) (string, error) {
	s, ok := Services[service]
	if !ok {
		return "", fmt.Errorf("unknown service %q", service)
	}
	base := s.Default
	if override := e[service]; override != "" {
		base = override
	}
	if !strings.HasSuffix(base, "/") {
		base += "/"
	}
	return base, nil
}

// Upload is where the contents of storage objects go: the storage API's address with /upload before its path.
func (e Endpoints) Upload() (string, error) {
	base, err := e.Base("storage")
	if err != nil {
		return "", err
	}
	head, ok := strings.CutSuffix(base, "storage/v1/")
	if !ok {
		return "", fmt.Errorf("the storage endpoint %q does not end in storage/v1/, so where to upload is not known", base)
	}
	return head + "upload/storage/v1/", nil
}

// Upload is the client's upload address.
func (c *Client) Upload() (string, error) { return c.endpoints.Upload() }
