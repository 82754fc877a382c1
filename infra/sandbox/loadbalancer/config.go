package loadbalancer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"patag/infra/sandbox/loadbalancer/proxy"
)

// The annotations that GKE's ingress controller reads and writes.
const (
	classAnnotation        = "kubernetes.io/ingress.class"
	staticIPAnnotation     = "kubernetes.io/ingress.global-static-ip-name"
	allowHTTPAnnotation    = "kubernetes.io/ingress.allow-http"
	preSharedAnnotation    = "ingress.gcp.kubernetes.io/pre-shared-cert"
	managedCertsAnnotation = "networking.gke.io/managed-certificates"
	frontendAnnotation     = "networking.gke.io/v1beta1.FrontendConfig"
	backendAnnotation      = "cloud.google.com/backend-config"
	backendBetaAnnotation  = "beta.cloud.google.com/backend-config"
	negAnnotation          = "cloud.google.com/neg"
	protocolsAnnotation    = "cloud.google.com/app-protocols"
	finalizer              = "networking.gke.io/ingress-finalizer-V2"
)

var (
	backendConfigs  = schema.GroupVersionResource{Group: "cloud.google.com", Version: "v1", Resource: "backendconfigs"}
	frontendConfigs = schema.GroupVersionResource{Group: "networking.gke.io", Version: "v1beta1", Resource: "frontendconfigs"}
	managedCerts    = schema.GroupVersionResource{Group: "networking.gke.io", Version: "v1", Resource: "managedcertificates"}
)

// ours tells whether GKE's controller acts on an Ingress: class gce, or no class at all.
func ours(ing *networkingv1.Ingress) bool {
	class, set := ing.Annotations[classAnnotation]
	if set && class != "" {
		return class == "gce"
	}
	return ing.Spec.IngressClassName == nil
}

// backendConfig is the spec of a BackendConfig object.
type backendConfig struct {
	TimeoutSec         *int64 `json:"timeoutSec"`
	ConnectionDraining *struct {
		DrainingTimeoutSec int64 `json:"drainingTimeoutSec"`
	} `json:"connectionDraining"`
	HealthCheck *struct {
		CheckIntervalSec   *int64  `json:"checkIntervalSec"`
		TimeoutSec         *int64  `json:"timeoutSec"`
		HealthyThreshold   *int64  `json:"healthyThreshold"`
		UnhealthyThreshold *int64  `json:"unhealthyThreshold"`
		Type               *string `json:"type"`
		Port               *int64  `json:"port"`
		RequestPath        *string `json:"requestPath"`
	} `json:"healthCheck"`
	SecurityPolicy *struct {
		Name string `json:"name"`
	} `json:"securityPolicy"`
	Logging *struct {
		Enable     bool     `json:"enable"`
		SampleRate *float64 `json:"sampleRate"`
	} `json:"logging"`
	CustomRequestHeaders *struct {
		Headers []string `json:"headers"`
	} `json:"customRequestHeaders"`
	CustomResponseHeaders *struct {
		Headers []string `json:"headers"`
	} `json:"customResponseHeaders"`
	SessionAffinity *struct {
		AffinityType string `json:"affinityType"`
	} `json:"sessionAffinity"`
	CDN *struct {
		Enabled bool `json:"enabled"`
	} `json:"cdn"`
	IAP *struct {
		Enabled bool `json:"enabled"`
	} `json:"iap"`
}

// notSimulated names what the configuration asks for and does not get here.
func (c *backendConfig) notSimulated() []string {
	var out []string
	if c.SessionAffinity != nil && c.SessionAffinity.AffinityType != "" && c.SessionAffinity.AffinityType != "NONE" {
		out = append(out, "sessionAffinity "+c.SessionAffinity.AffinityType)
	}
	if c.CDN != nil && c.CDN.Enabled {
		out = append(out, "cdn")
	}
	if c.IAP != nil && c.IAP.Enabled {
		out = append(out, "iap")
	}
	return out
}

// apply writes the configuration over the defaults.
func (c *backendConfig) apply(spec *proxy.BackendSpec) error {
	if c.TimeoutSec != nil {
		spec.Timeout = time.Duration(*c.TimeoutSec) * time.Second
	}
	if c.ConnectionDraining != nil {
		spec.Drain = time.Duration(c.ConnectionDraining.DrainingTimeoutSec) * time.Second
	}
	if c.Logging != nil {
		spec.LogRate = 0
		if c.Logging.Enable {
			spec.LogRate = 1
			if c.Logging.SampleRate != nil {
				spec.LogRate = *c.Logging.SampleRate
			}
		}
	}
	if h := c.HealthCheck; h != nil {
		seconds := func(v *int64, into *time.Duration) {
			if v != nil {
				*into = time.Duration(*v) * time.Second
			}
		}
		count := func(v *int64, into *int) {
			if v != nil {
				*into = int(*v)
			}
		}
		seconds(h.CheckIntervalSec, &spec.Health.Interval)
		seconds(h.TimeoutSec, &spec.Health.Timeout)
		count(h.HealthyThreshold, &spec.Health.Healthy)
		count(h.UnhealthyThreshold, &spec.Health.Unhealthy)
		count(h.Port, &spec.Health.Port)
		if h.Type != nil {
			spec.Health.Type = *h.Type
		}
		if h.RequestPath != nil {
			spec.Health.Path = *h.RequestPath
		}
		if spec.Health.Timeout > spec.Health.Interval && spec.Health.Interval > 0 && h.TimeoutSec != nil {
			return fmt.Errorf("invalid value for field 'timeoutSec': the health check's timeout (%v) must not be longer than its interval (%v)", spec.Health.Timeout, spec.Health.Interval)
		}
	}
	var err error
	if c.CustomRequestHeaders != nil {
		if spec.RequestHeaders, err = parseHeaders(c.CustomRequestHeaders.Headers); err != nil {
			return err
		}
	}
	if c.CustomResponseHeaders != nil {
		spec.ResponseHeaders, err = parseHeaders(c.CustomResponseHeaders.Headers)
	}
	return err
}

func parseHeaders(list []string) ([]proxy.Header, error) {
	var out []proxy.Header
	for _, h := range list {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("custom header %q is not of the form NAME:VALUE", h)
		}
		out = append(out, proxy.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return out, nil
}

// frontendConfig is the spec of a FrontendConfig object.
type frontendConfig struct {
	SSLPolicy       string `json:"sslPolicy"`
	RedirectToHTTPS *struct {
		Enabled          bool   `json:"enabled"`
		ResponseCodeName string `json:"responseCodeName"`
	} `json:"redirectToHttps"`
}

// redirect is the status of the redirect to HTTPS, 0 without one.
func (c *frontendConfig) redirect() (int, error) {
	if c.RedirectToHTTPS == nil || !c.RedirectToHTTPS.Enabled {
		return 0, nil
	}
	codes := map[string]int{"": http.StatusMovedPermanently, "MOVED_PERMANENTLY_DEFAULT": http.StatusMovedPermanently, "FOUND": http.StatusFound,
		"SEE_OTHER": http.StatusSeeOther, "TEMPORARY_REDIRECT": http.StatusTemporaryRedirect, "PERMANENT_REDIRECT": http.StatusPermanentRedirect}
	code, ok := codes[c.RedirectToHTTPS.ResponseCodeName]
	if !ok {
		return 0, fmt.Errorf("redirectToHttps.responseCodeName %q is not known", c.RedirectToHTTPS.ResponseCodeName)
	}
	return code, nil
}

// spec decodes the spec of a custom resource.
func specOf(u *unstructured.Unstructured, into any) error {
	spec, _, err := unstructured.NestedMap(u.Object, "spec")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(spec, into)
	}
	if err != nil {
		return fmt.Errorf("read %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
	}
	return nil
}

// backendConfigName finds the BackendConfig of a Service's port, "" if there is none.
func backendConfigName(svc *corev1.Service, port corev1.ServicePort) (string, error) {
	raw := svc.Annotations[backendAnnotation]
	if raw == "" {
		raw = svc.Annotations[backendBetaAnnotation]
	}
	if raw == "" {
		return "", nil
	}
	var a struct {
		Default string            `json:"default"`
		Ports   map[string]string `json:"ports"`
	}
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		return "", fmt.Errorf("annotation %s of service %s/%s is not valid JSON: %w", backendAnnotation, svc.Namespace, svc.Name, err)
	}
	for _, key := range []string{port.Name, fmt.Sprint(port.Port)} {
		if name, ok := a.Ports[key]; ok && key != "" {
			return name, nil
		}
	}
	return a.Default, nil
}

// containerNative tells whether the load balancer sends to pods; in a VPC-native cluster it does unless told not to.
func containerNative(svc *corev1.Service) (bool, error) {
	raw := svc.Annotations[negAnnotation]
	if raw == "" {
		return true, nil
	}
	var a struct {
		Ingress *bool `json:"ingress"`
	}
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		return false, fmt.Errorf("annotation %s of service %s/%s is not valid JSON: %w", negAnnotation, svc.Namespace, svc.Name, err)
	}
	return a.Ingress == nil || *a.Ingress, nil
}

// protocol is HTTP unless the Service's annotation says HTTPS or HTTP2 for the port.
func protocol(svc *corev1.Service, port corev1.ServicePort) (string, error) {
	raw := svc.Annotations[protocolsAnnotation]
	if raw == "" {
		return "HTTP", nil
	}
	var a map[string]string
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		return "", fmt.Errorf("annotation %s of service %s/%s is not valid JSON: %w", protocolsAnnotation, svc.Namespace, svc.Name, err)
	}
	p, ok := a[port.Name]
	if !ok {
		return "HTTP", nil
	}
	if p != "HTTP" && p != "HTTPS" && p != "HTTP2" {
		return "", fmt.Errorf("annotation %s of service %s/%s: the protocol %q is not HTTP, HTTPS or HTTP2", protocolsAnnotation, svc.Namespace, svc.Name, p)
	}
	return p, nil
}
