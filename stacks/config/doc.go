// Package config is the configuration of the stacks: one table of keys (Keys), each with its type, default, reason
// and check; Load turns the raw values of a stack into typed Settings, or into all errors at once, before any
// resource is registered. It knows nothing of Pulumi's engine nor of any cloud but the shape of Google's names.
// docs/configuration.md is generated from the table.
package config

import "time"

// Namespace is the namespace of the keys: patag:<key>.
const Namespace = "patag"

// Kind says which program a stack runs.
type Kind string

// The kinds of stack.
const (
	Foundation Kind = "foundation"
	Production Kind = "production"
	Staging    Kind = "staging"
	LoadTest   Kind = "loadtest"
	Operations Kind = "operations"
)

// StagingPrefix begins the name of every stack of kind staging; the rest is the project it is for.
const StagingPrefix = "staging-"

// Kinds lists the kinds in the order in which they are documented.
func Kinds() []Kind { return []Kind{Foundation, Production, Staging, LoadTest, Operations} }

// Built says whether the program of a kind exists yet.
func (k Kind) Built() bool { return k == Foundation || k == Production || k == Staging }

// Engines behind the Mongo protocol.
const (
	MongoDB  = "mongodb"
	FerretDB = "ferretdb"
)

// What is loaded into the store.
const (
	CatalogueNone  = "none"
	CatalogueLater = "later"
	CatalogueDemo  = "demo"
)

// Settings are the checked values of one stack. Which fields are set depends on the kind: see the table.
type Settings struct {
	Kind    Kind
	Stack   string
	Project string
	Region  string
	zone    string // gcp:zone, empty when not set

	// foundation
	Domain              string
	HostLabel           string
	AlertEmail          string
	Repository          string
	BackupLocation      string
	BackupRetentionDays int
	BackupVersionDays   int

	// production, staging
	FoundationStack string
	Foundation      *FoundationValues
	Engine          string
	Images          Images
	Namespace       string
	Location        string
	NodeZones       []string
	Ranges          Ranges
	Authorized      []string
	ReleaseChannel  string
	Standard        Pool
	HighCPU         Pool
	DiskSizeGB      int
	DiskType        string
	RedisMemoryMiB  int
	RedisDiskGiB    int
	MongoDiskGiB    int
	TagMin          int
	TagMax          int
	TagCPUTarget    int
	CanaryImage     string
	CanaryLive      bool
	RequestLimit    int
	RequestLog      float64
	Database        string
	BackupSchedule  string
	ReaperSchedule  string
	Restore         *Restore
	Catalogue       string
	CatalogueFile   string
	DemoPlacement   string
	DemoBidder      bool
	PublicURL       string
	Monitoring      bool
	ProtectData     bool

	// staging
	Owner     string
	ExpiresAt time.Time
	Asleep    bool
}

// Ranges are the address ranges of a stack's network.
type Ranges struct{ Nodes, Pods, Services, Master string }

// Pool is the shape of one node pool. Minimum and maximum are per zone.
type Pool struct {
	MachineType string
	Min, Max    int
	Spot        bool
}

// Images are image references by digest.
type Images struct {
	Tag        string `json:"tag"`
	Backup     string `json:"backup"`
	Reaper     string `json:"reaper"`
	Redis      string `json:"redis"`
	Nutcracker string `json:"nutcracker"`
	FerretDB   string `json:"ferretdb"`
	MongoDB    string `json:"mongodb"`
}

// Restore is the backup that the database is made from.
type Restore struct {
	Stack, ID string
	Mask      bool
}

// FoundationValues stand in for the foundation stack where there is none to refer to: they are its outputs.
type FoundationValues struct {
	AddressName          string `json:"addressName"`
	Address              string `json:"address"`
	CertificateName      string `json:"certificateName"`
	Host                 string `json:"host"`
	Domain               string `json:"domain"`
	DNSZone              string `json:"dnsZone"`
	Repository           string `json:"repository"`
	NodeServiceAccount   string `json:"nodeServiceAccount"`
	TagServiceAccount    string `json:"tagServiceAccount"`
	BackupServiceAccount string `json:"backupServiceAccount"`
	// ReaperServiceAccount may be left out: then nothing reaps.
	ReaperServiceAccount string `json:"reaperServiceAccount"`
	BackupBucket         string `json:"backupBucket"`
	NotificationChannel  string `json:"notificationChannel"`
}
