package config

import "slices"

// Key is one row of the table.
type Key struct {
	Name string
	// Type as a reader of the table needs it: string, int, bool, number, list of string, object.
	Type string
	// Kinds of stack that have the key.
	Kinds []Kind
	// Default as one would write it, for every kind that has no other in Defaults. Empty: none.
	Default  string
	Defaults map[Kind]string
	// Required keys have no default and must be given.
	Required bool
	// Secret keys are given with `pulumi config set --secret`.
	Secret bool
	// Rule is what values are accepted, for the table.
	Rule string
	// Reason says what the key is for and why the default is what it is.
	Reason string

	set func(*Settings, string) error
}

// DefaultFor is the default of the key in a stack of the kind.
func (k Key) DefaultFor(kind Kind) string {
	if d, ok := k.Defaults[kind]; ok {
		return d
	}
	return k.Default
}

var (
	everywhere   = Kinds()
	inFoundation = []Kind{Foundation}
	inPlatform   = []Kind{Production, Staging}
	inStaging    = []Kind{Staging}
	inProduction = []Kind{Production}
)

// Keys is the table: every key of the namespace, grouped as it is read.
func Keys() []Key {
	return slices.Concat(generalKeys(), foundationKeys(), secretKeys(), clusterKeys(), poolKeys(), dataKeys(), tagKeys(), stagingKeys())
}

func generalKeys() []Key {
	return []Key{
		{Name: "kind", Type: "string", Kinds: everywhere, Required: true, Rule: "foundation, production, staging; loadtest and operations are not built yet",
			Reason: "which program the stack runs"},
	}
}

func foundationKeys() []Key {
	return []Key{
		{Name: "domain", Type: "string", Kinds: inFoundation, Required: true, Rule: "a DNS name without the last dot",
			Reason: "the DNS zone that the foundation manages; its name servers must be delegated to",
			set:    text(func(s *Settings) *string { return &s.Domain }, domainName)},
		{Name: "hostLabel", Type: "string", Kinds: inFoundation, Default: "tag", Rule: "one DNS label",
			Reason: "production answers as <hostLabel>.<domain>; publishers' pages carry this name, so it outlives every cluster",
			set:    text(func(s *Settings) *string { return &s.HostLabel }, dnsLabel)},
		{Name: "alertEmail", Type: "string", Kinds: inFoundation, Required: true, Rule: "an e-mail address",
			Reason: "who is told when the service is down or slow",
			set:    text(func(s *Settings) *string { return &s.AlertEmail }, email)},
		{Name: "repository", Type: "string", Kinds: inFoundation, Default: "patag", Rule: "2 to 63 lower-case letters, digits and hyphens",
			Reason: "id of the Artifact Registry repository; it is part of every image's name",
			set:    text(func(s *Settings) *string { return &s.Repository }, repositoryID)},
		{Name: "backupLocation", Type: "string", Kinds: inFoundation, Default: "EU", Rule: "a Cloud Storage location: EU, US, ASIA, EUR4, NAM4, ASIA1 or a region",
			Reason: "a multi-region, so that the backups survive the region that the clusters run in",
			set:    text(func(s *Settings) *string { return &s.BackupLocation }, bucketLocation)},
		{Name: "backupRetentionDays", Type: "int", Kinds: inFoundation, Default: "90", Rule: "7 to 3650",
			Reason: "backups older than this are deleted; a quarter covers a billing dispute",
			set:    integer(func(s *Settings) *int { return &s.BackupRetentionDays }, 7, 3650)},
		{Name: "backupVersionDays", Type: "int", Kinds: inFoundation, Default: "14", Rule: "1 to 365",
			Reason: "how long an overwritten or deleted backup can still be brought back",
			set:    integer(func(s *Settings) *int { return &s.BackupVersionDays }, 1, 365)},
	}
}

func secretKeys() []Key {
	secret := func(name, reason string, least int) Key {
		return Key{Name: name, Type: "string", Kinds: everywhere[:3], Secret: true, Rule: atLeast(least), Default: "",
			Reason: reason + "; generated once and kept in the stack's state and in Secret Manager when it is not given", set: secretText(least)}
	}
	return []Key{
		secret("tagKey", "signs the tokens in impression and click URLs: hex or base64 of 32 bytes or more (openssl rand -hex 32)", 43),
		secret("mongoRootPassword", "administrates MongoDB (engine mongodb)", 16),
		secret("mongoAppPassword", "what the applications log in to MongoDB with (engine mongodb)", 16),
		secret("mongoKeyfile", "what the members of the replica set know each other by (engine mongodb), base64", 32),
	}
}

func clusterKeys() []Key {
	cidr := func(name, def, reason string, at func(*Settings) *string, least, most int) Key {
		return Key{Name: name, Type: "string", Kinds: inPlatform, Default: def, Rule: prefixRule(least, most), Reason: reason, set: prefix(at, least, most)}
	}
	return []Key{
		{Name: "foundationStack", Type: "string", Kinds: inPlatform, Default: "", Rule: "organization/project/stack",
			Reason: "the foundation to build on; by default the stack named foundation of the same organization and project",
			set:    text(func(s *Settings) *string { return &s.FoundationStack }, stackReference)},
		{Name: "foundation", Type: "object", Kinds: inPlatform, Rule: "the outputs of a foundation, all of them",
			Reason: "stands in for the foundation stack, for a preview without one; the stack then keeps secrets of its own",
			set:    foundationValues},
		{Name: "namespace", Type: "string", Kinds: inPlatform, Default: "patag", Defaults: map[Kind]string{Staging: ""}, Rule: "one DNS label",
			Reason: "the Kubernetes namespace of the platform, by default the stack's name in a staging: to Workload Identity, namespaces of one name are the same in all clusters of a project",
			set:    text(func(s *Settings) *string { return &s.Namespace }, dnsLabel)},
		{Name: "location", Type: "string", Kinds: inPlatform, Default: "", Rule: "gcp:region or one of its zones",
			Reason: "where the control plane runs; by default gcp:zone, else zone b of the region: a zonal cluster costs no management fee and no traffic between zones, and a rebuild takes less than a day elsewhere",
			set:    text(func(s *Settings) *string { return &s.Location }, location)},
		{Name: "nodeZones", Type: "list of string", Kinds: inPlatform, Default: "", Rule: "zones of gcp:region",
			Reason: "where nodes run; by default the zone of the control plane, or zone b for a regional one. Pool sizes are per zone",
			set:    list(func(s *Settings) *[]string { return &s.NodeZones }, zone)},
		cidr("nodeRange", "10.10.0.0/20", "addresses of nodes: room for 4,092", func(s *Settings) *string { return &s.Ranges.Nodes }, 16, 26),
		cidr("podRange", "10.20.0.0/16", "addresses of pods, a /24 per node: room for 256 nodes", func(s *Settings) *string { return &s.Ranges.Pods }, 11, 21),
		cidr("serviceRange", "10.30.0.0/20", "addresses of Services: room for 4,096", func(s *Settings) *string { return &s.Ranges.Services }, 16, 27),
		cidr("masterRange", "172.16.0.0/28", "addresses of the control plane; GKE wants exactly a /28", func(s *Settings) *string { return &s.Ranges.Master }, 28, 28),
		{Name: "authorizedNetworks", Type: "list of string", Kinds: inPlatform, Default: `["0.0.0.0/0"]`, Rule: "CIDR ranges",
			Reason: "who may reach the control plane's public endpoint. Every call is authenticated by Google; name the office's and the CI's addresses as soon as they are known",
			set:    list(func(s *Settings) *[]string { return &s.Authorized }, anyPrefix)},
		{Name: "releaseChannel", Type: "string", Kinds: inPlatform, Default: "REGULAR", Rule: "RAPID, REGULAR, STABLE",
			Reason: "how new the versions are that GKE upgrades to; the middle one has had its bugs found by others",
			set:    text(func(s *Settings) *string { return &s.ReleaseChannel }, oneOf("RAPID", "REGULAR", "STABLE"))},
		{Name: "monitoring", Type: "bool", Kinds: inPlatform, Default: "true", Defaults: map[Kind]string{Staging: "false"}, Rule: "true, false",
			Reason: "uptime check, alerts and dashboard; nobody is woken for a staging",
			set:    boolean(func(s *Settings) *bool { return &s.Monitoring })},
		{Name: "protectData", Type: "bool", Kinds: inPlatform, Default: "true", Defaults: map[Kind]string{Staging: "false"}, Rule: "true, false",
			Reason: "refuse to delete or replace what holds data (the namespace, the Mongo store); a rebuild of the cluster sets it to false first",
			set:    boolean(func(s *Settings) *bool { return &s.ProtectData })},
	}
}

func poolKeys() []Key {
	var keys []Key
	for _, p := range []struct {
		prefix, what, machine string
		min, max              map[Kind]string
		at                    func(*Settings) *Pool
	}{
		{"standard", "data tier and admin", "n1-standard-1", map[Kind]string{Production: "3", Staging: "2"}, map[Kind]string{Production: "6", Staging: "4"},
			func(s *Settings) *Pool { return &s.Standard }},
		{"highCpu", "tag servers", "n1-highcpu-2", map[Kind]string{Production: "2", Staging: "2"}, map[Kind]string{Production: "10", Staging: "3"},
			func(s *Settings) *Pool { return &s.HighCPU }},
	} {
		minimum := "the smallest size of the pool per zone"
		if p.prefix == "standard" {
			minimum += "; in production one node for each of the three members of Redis and MongoDB"
		} else {
			minimum += "; two, so that one may fail or be taken away"
		}
		keys = append(keys,
			Key{Name: p.prefix + "MachineType", Type: "string", Kinds: inPlatform, Default: p.machine, Rule: "a machine type such as n1-standard-2",
				Reason: "machines of the pool for the " + p.what, set: text(func(s *Settings) *string { return &p.at(s).MachineType }, machineType)},
			Key{Name: p.prefix + "Min", Type: "int", Kinds: inPlatform, Defaults: p.min, Rule: "1 to 100", Reason: minimum,
				set: integer(func(s *Settings) *int { return &p.at(s).Min }, 1, 100)},
			Key{Name: p.prefix + "Max", Type: "int", Kinds: inPlatform, Defaults: p.max, Rule: "1 to 100",
				Reason: "the largest size of the pool per zone: the ceiling of the bill", set: integer(func(s *Settings) *int { return &p.at(s).Max }, 1, 100)},
			Key{Name: p.prefix + "Spot", Type: "bool", Kinds: inPlatform, Default: "false", Defaults: map[Kind]string{Staging: "true"}, Rule: "true, false",
				Reason: "spot machines cost a fraction and may go at 30 seconds' notice: right for a staging",
				set:    boolean(func(s *Settings) *bool { return &p.at(s).Spot })})
	}
	return append(keys,
		Key{Name: "diskSizeGB", Type: "int", Kinds: inPlatform, Default: "30", Rule: "12 to 1000",
			Reason: "boot disk of a node: the system takes 10, images and logs the rest", set: integer(func(s *Settings) *int { return &s.DiskSizeGB }, 12, 1000)},
		Key{Name: "diskType", Type: "string", Kinds: inPlatform, Default: "pd-balanced", Rule: "pd-standard, pd-balanced, pd-ssd",
			Reason: "boot disk of a node; the slowest makes image pulls slow when nodes are added under load",
			set:    text(func(s *Settings) *string { return &s.DiskType }, oneOf("pd-standard", "pd-balanced", "pd-ssd"))})
}

func dataKeys() []Key {
	return []Key{
		{Name: "engine", Type: "string", Kinds: inPlatform, Default: MongoDB, Rule: "mongodb, ferretdb",
			Reason: "what speaks the Mongo protocol: a MongoDB replica set of three, or one FerretDB on SQLite where no MongoDB can be had",
			set:    text(func(s *Settings) *string { return &s.Engine }, oneOf(MongoDB, FerretDB))},
		{Name: "images", Type: "object", Kinds: inPlatform, Required: true, Rule: "tag, backup, reaper, redis, nutcracker and the engine's (ferretdb or mongodb), each as name@sha256:…",
			Reason: "what runs, by digest, so that a deployment is exactly what was tested; patag fills it in after it has pushed the images", set: images},
		{Name: "mongodbImage", Type: "string", Kinds: inPlatform, Default: "", Rule: "name@sha256:…",
			Reason: "MongoDB's official image, where patag:images has none: it is not built here",
			set:    mongodbImage},
		{Name: "database", Type: "string", Kinds: inPlatform, Default: "patag", Rule: "a letter, then up to 47 letters, digits, hyphens and underscores",
			Reason: "the database in use; `patag restore` fills another one from a backup and then switches to it by this key",
			set:    text(func(s *Settings) *string { return &s.Database }, matching(`^[a-z][a-z0-9_-]{0,47}$`, "be a lower-case letter, then up to 47 letters, digits, hyphens and underscores"))},
		{Name: "restoreFrom", Type: "string", Kinds: inPlatform, Default: "", Rule: "STACK/ID of a backup, with +masked after it for pseudonyms instead of personal data",
			Reason: "fills the database from a backup, once, before anything uses it; the demo catalogue is then not loaded. `patag restore`, `rebuild` and `staging create --data masked-copy` set it",
			set:    restoreFrom},
		{Name: "backupSchedule", Type: "string", Kinds: inPlatform, Default: "17 */6 * * *", Defaults: map[Kind]string{Staging: ""}, Rule: "five fields as in cron, UTC; empty: only by `patag backup`",
			Reason: "when the store is copied into the bucket of backups: what is lost with the whole cluster is at most what came since the last one",
			set:    text(func(s *Settings) *string { return &s.BackupSchedule }, cronSchedule)},
		{Name: "reaperSchedule", Type: "string", Kinds: inProduction, Default: "7 * * * *", Rule: "five fields as in cron, UTC; empty: only by `patag staging reap`",
			Reason: "when clusters of stagings whose time is over are deleted: a forgotten one costs at most so much longer",
			set:    text(func(s *Settings) *string { return &s.ReaperSchedule }, cronSchedule)},
		{Name: "redisMemoryMiB", Type: "int", Kinds: inPlatform, Default: "192", Defaults: map[Kind]string{Staging: "64"}, Rule: "32 to 65536",
			Reason: "memory for counters per Redis server, of which there are three; a pod gets twice that, for the copy that a rewrite of the log makes",
			set:    integer(func(s *Settings) *int { return &s.RedisMemoryMiB }, 32, 65536)},
		{Name: "redisDiskGiB", Type: "int", Kinds: inPlatform, Default: "5", Defaults: map[Kind]string{Staging: "1"}, Rule: "1 to 1000",
			Reason: "disk for the append-only file of each Redis server", set: integer(func(s *Settings) *int { return &s.RedisDiskGiB }, 1, 1000)},
		{Name: "mongoDiskGiB", Type: "int", Kinds: inPlatform, Default: "20", Defaults: map[Kind]string{Staging: "5"}, Rule: "1 to 10000",
			Reason: "disk of each member of the Mongo store", set: integer(func(s *Settings) *int { return &s.MongoDiskGiB }, 1, 10000)},
	}
}

func tagKeys() []Key {
	return []Key{
		{Name: "tagMin", Type: "int", Kinds: inPlatform, Default: "2", Rule: "1 to 200",
			Reason: "fewest tag servers: two, so that one may fail or be replaced", set: integer(func(s *Settings) *int { return &s.TagMin }, 1, 200)},
		{Name: "tagMax", Type: "int", Kinds: inPlatform, Default: "20", Defaults: map[Kind]string{Staging: "4"}, Rule: "1 to 200",
			Reason: "most tag servers: two on each node of a full pool", set: integer(func(s *Settings) *int { return &s.TagMax }, 1, 200)},
		{Name: "tagCpuTarget", Type: "int", Kinds: inPlatform, Default: "60", Rule: "10 to 95",
			Reason: "per cent of the requested CPU at which servers are added: room for the minute that a node takes to come",
			set:    integer(func(s *Settings) *int { return &s.TagCPUTarget }, 10, 95)},
		{Name: "canaryImage", Type: "string", Kinds: inPlatform, Default: "", Rule: "an image by digest",
			Reason: "one more tag server, of this image, to be compared with the others; `patag deploy` sets it and takes it away",
			set:    text(func(s *Settings) *string { return &s.CanaryImage }, imageReference)},
		{Name: "canaryLive", Type: "bool", Kinds: inPlatform, Default: "false", Rule: "true, false",
			Reason: "the canary takes its share of the traffic; before that it is dark: `patag deploy` tries it first",
			set:    boolean(func(s *Settings) *bool { return &s.CanaryLive })},
		{Name: "requestsPerMinutePerClient", Type: "int", Kinds: inPlatform, Default: "300000", Rule: "0 (no limit) to 1000000",
			Reason: "Cloud Armor answers 429 beyond it. High, because a carrier puts thousands of viewers behind one address: it stops floods, not viewers",
			set:    integer(func(s *Settings) *int { return &s.RequestLimit }, 0, 1000000)},
		{Name: "requestLogSample", Type: "number", Kinds: inPlatform, Default: "0.1", Defaults: map[Kind]string{Staging: "1"}, Rule: "0 to 1",
			Reason: "share of requests that the load balancer logs: at 200 million a month, all of them cost more than the nodes",
			set:    fraction(func(s *Settings) *float64 { return &s.RequestLog })},
		{Name: "catalogue", Type: "string", Kinds: inPlatform, Default: CatalogueNone, Defaults: map[Kind]string{Staging: CatalogueDemo}, Rule: "none, later, demo",
			Reason: "what is loaded into the store: nothing, because it has one; nothing yet, and then the engine does not wait for tag servers, which are ready only with a catalogue; or the demo catalogue of patag:catalogueFile, so that a staging answers at once",
			set:    text(func(s *Settings) *string { return &s.Catalogue }, oneOf(CatalogueNone, CatalogueLater, CatalogueDemo))},
		{Name: "catalogueFile", Type: "string", Kinds: inPlatform, Default: "app/tag/demo/catalogue.json", Rule: "a path, absolute or from the project's root",
			Reason: "the demo catalogue; it travels in a ConfigMap, so at most 1 MiB", set: text(func(s *Settings) *string { return &s.CatalogueFile }, nil)},
		{Name: "demoPlacement", Type: "string", Kinds: inPlatform, Default: "demo-top", Rule: "an id of a placement",
			Reason: "the placement that the output adURL asks for", set: text(func(s *Settings) *string { return &s.DemoPlacement }, placementID)},
		{Name: "demoBidder", Type: "bool", Kinds: inPlatform, Default: "false", Defaults: map[Kind]string{Staging: "true"}, Rule: "true, false",
			Reason: "a demand source inside the cluster that bids with invented ads, to try auctions with; the source demo-bidder of the demo catalogue asks it. Production earns money, so it has none",
			set:    boolean(func(s *Settings) *bool { return &s.DemoBidder })},
		{Name: "publicURL", Type: "string", Kinds: inPlatform, Default: "address", Rule: "address, host",
			Reason: "how the outputs adURL and demoURL name the service: by address over HTTP, which works at once, or by host over HTTPS, once its DNS zone is delegated and its certificate issued",
			set:    text(func(s *Settings) *string { return &s.PublicURL }, oneOf("address", "host"))},
	}
}

func stagingKeys() []Key {
	return []Key{
		{Name: "owner", Type: "string", Kinds: inStaging, Default: "nobody", Rule: "up to 63 lower-case letters, digits, hyphens and underscores",
			Reason: "who asked for the staging, as a label on what it costs; `patag staging create` sets it",
			set:    text(func(s *Settings) *string { return &s.Owner }, matching(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`, "up to 63 lower-case letters, digits, hyphens and underscores, as Google's labels are"))},
		{Name: "expiresAt", Type: "string", Kinds: inStaging, Default: "", Rule: "a time in RFC 3339, such as 2026-12-31T18:00:00Z",
			Reason: "when `patag staging reap` takes the staging down; without one it is never reaped, and the policies refuse it",
			set:    expiry},
		{Name: "asleep", Type: "bool", Kinds: inStaging, Default: "false", Rule: "true, false",
			Reason: "no nodes: the pools are scaled to zero, disks and addresses stay. `patag staging sleep` and `wake` set it",
			set:    boolean(func(s *Settings) *bool { return &s.Asleep })},
	}
}
