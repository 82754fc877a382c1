package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check judges a text; nil: every text will do.
type check func(string) error

func matching(pattern, must string) check {
	re := regexp.MustCompile(pattern)
	return func(v string) error {
		if !re.MatchString(v) {
			return errors.New("it must be " + must)
		}
		return nil
	}
}

var (
	projectPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	// A cluster's name has at most 40 characters, 8 of which are the random suffix.
	stackPattern = regexp.MustCompile(`^[a-z]([a-z0-9]|-[a-z0-9]){1,31}$`)

	dnsLabel       = matching(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, "one DNS label: at most 63 lower-case letters, digits and hyphens")
	domainName     = matching(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`, "a DNS name of two labels or more, lower case, without the last dot")
	email          = matching(`^[^@\s]+@[^@\s]+\.[^@\s]+$`, "an e-mail address")
	repositoryID   = matching(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`, "2 to 63 lower-case letters, digits and hyphens, a letter first")
	placementID    = matching(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`, "letters, digits, dots, hyphens and underscores")
	stackReference = matching(`^[^/\s]+/[^/\s]+/[^/\s]+$`, "organization/project/stack; on file and bucket backends the organization is the word organization")
	// The sizes are those of Google's "Machine families resource and comparison guide"; families that the platform has no
	// use for (GPU, memory-optimised, bare metal) are left out.
	machineType = matching(`^(n1-standard-1|n1-(standard|highcpu|highmem)-(2|4|8|16|32|64|96)`+
		`|(n2|n2d)-(standard|highcpu|highmem)-(2|4|8|16|32|48|64|80|96|128)|n4-(standard|highcpu|highmem)-(2|4|8|16|32|48|64|80)`+
		`|e2-(standard|highcpu)-(2|4|8|16|32)|e2-highmem-(2|4|8|16)|e2-(micro|small|medium)|t2d-standard-(1|2|4|8|16|32|48|60)`+
		`|c3-(standard|highcpu|highmem)-(4|8|22|44|88|176)|(n1|n2|n2d|n4|e2)-custom-[0-9]{1,3}-[0-9]{3,7})$`,
		"a Compute Engine machine type such as n1-standard-1, n1-highcpu-2, e2-medium")
	imageReference = matching(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_.-]+)?@sha256:[0-9a-f]{64}$`,
		"an image by digest, registry/name@sha256:<64 hex digits>: a tag may point elsewhere tomorrow")
)

// regions of Google Cloud, November 2026. A list, because a misspelt region is else found out only by the first call.
var regions = strings.Fields(`africa-south1 asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3
	asia-south1 asia-south2 asia-southeast1 asia-southeast2 australia-southeast1 australia-southeast2 europe-central2
	europe-north1 europe-north2 europe-southwest1 europe-west1 europe-west2 europe-west3 europe-west4 europe-west6
	europe-west8 europe-west9 europe-west10 europe-west12 me-central1 me-central2 me-west1 northamerica-northeast1
	northamerica-northeast2 northamerica-south1 southamerica-east1 southamerica-west1 us-central1 us-east1 us-east4
	us-east5 us-south1 us-west1 us-west2 us-west3 us-west4`)

var zonePattern = regexp.MustCompile(`^([a-z]+-[a-z]+[0-9]+)-[a-f]$`)

// regionOf a zone; empty when it is no zone.
func regionOf(zone string) string {
	if m := zonePattern.FindStringSubmatch(zone); m != nil {
		return m[1]
	}
	return ""
}

func zone(v string) error {
	if region := regionOf(v); !slices.Contains(regions, region) {
		return fmt.Errorf("%q is no zone; a zone is a region and a letter: europe-west1-b", v)
	}
	return nil
}

func location(v string) error {
	if slices.Contains(regions, v) {
		return nil
	}
	if zone(v) != nil {
		return errors.New("it must be a region or a zone: europe-west1, europe-west1-b")
	}
	return nil
}

func bucketLocation(v string) error {
	if slices.Contains([]string{"EU", "US", "ASIA", "EUR4", "NAM4", "ASIA1"}, v) || slices.Contains(regions, strings.ToLower(v)) {
		return nil
	}
	return errors.New("it must be EU, US, ASIA, EUR4, NAM4, ASIA1 or a region")
}

func oneOf(values ...string) check {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return errors.New("it must be one of " + strings.Join(values, ", "))
		}
		return nil
	}
}

func text(at func(*Settings) *string, ok check) func(*Settings, string) error {
	return func(s *Settings, raw string) error {
		if ok != nil {
			if err := ok(raw); err != nil {
				return err
			}
		}
		*at(s) = raw
		return nil
	}
}

func integer(at func(*Settings) *int, least, most int) func(*Settings, string) error {
	return func(s *Settings, raw string) error {
		n, err := strconv.Atoi(raw)
		if err != nil || n < least || n > most {
			return fmt.Errorf("it must be a whole number from %d to %d", least, most)
		}
		*at(s) = n
		return nil
	}
}

func fraction(at func(*Settings) *float64) func(*Settings, string) error {
	return func(s *Settings, raw string) error {
		f, err := strconv.ParseFloat(raw, 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return errors.New("it must be a number from 0 to 1")
		}
		*at(s) = f
		return nil
	}
}

func boolean(at func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, raw string) error {
		if raw != "true" && raw != "false" {
			return errors.New("it must be true or false")
		}
		*at(s) = raw == "true"
		return nil
	}
}

func list(at func(*Settings) *[]string, each check) func(*Settings, string) error {
	return func(s *Settings, raw string) error {
		var values []string
		if err := json.Unmarshal([]byte(raw), &values); err != nil || len(values) == 0 {
			return errors.New("it must be a list of strings, not empty")
		}
		for i, v := range values {
			if err := each(v); err != nil {
				return err
			}
			if slices.Contains(values[:i], v) {
				return fmt.Errorf("%q is in it twice", v)
			}
		}
		*at(s) = values
		return nil
	}
}

func prefixRule(least, most int) string {
	if least == most {
		return fmt.Sprintf("a private IPv4 range, /%d", least)
	}
	return fmt.Sprintf("a private IPv4 range, /%d to /%d", least, most)
}

// privateRanges are those that GKE takes for nodes, pods, Services and control planes.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
}

func prefix(at func(*Settings) *string, least, most int) func(*Settings, string) error {
	return func(s *Settings, raw string) error {
		if err := anyPrefix(raw); err != nil {
			return err
		}
		p := netip.MustParsePrefix(raw)
		if p.Bits() < least || p.Bits() > most {
			return errors.New("it must be " + prefixRule(least, most))
		}
		private := slices.ContainsFunc(privateRanges, func(r netip.Prefix) bool { return r.Contains(p.Addr()) && r.Bits() <= p.Bits() })
		if !private {
			return errors.New("it must lie in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10")
		}
		*at(s) = raw
		return nil
	}
}

func anyPrefix(v string) error {
	p, err := netip.ParsePrefix(v)
	if err != nil || !p.Addr().Is4() {
		return fmt.Errorf("%q is no IPv4 range; write it as 10.0.0.0/16", v)
	}
	if p.Masked() != p {
		return fmt.Errorf("%s is an address within a range; the range is %s", v, p.Masked())
	}
	return nil
}

func atLeast(n int) string { return fmt.Sprintf("%d characters or more", n) }

// secretText only judges a secret: its value never enters Settings, which may be printed.
func secretText(least int) func(*Settings, string) error {
	return func(_ *Settings, raw string) error {
		if len(raw) < least {
			return errors.New("it must have " + atLeast(least))
		}
		return nil
	}
}

// object decodes strictly: an unknown field is an error that names it.
func object(raw string, into any) error {
	dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("it must be an object of strings: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func images(s *Settings, raw string) error {
	var found Images
	if err := object(raw, &found); err != nil {
		return err
	}
	for _, image := range []struct{ name, ref string }{
		{"tag", found.Tag}, {"backup", found.Backup}, {"reaper", found.Reaper}, {"redis", found.Redis}, {"nutcracker", found.Nutcracker}, {"ferretdb", found.FerretDB}, {"mongodb", found.MongoDB},
	} {
		if image.ref == "" {
			continue // which ones are needed depends on the engine: relations
		}
		if err := imageReference(image.ref); err != nil {
			return fmt.Errorf("%s is %q: %w", image.name, image.ref, err)
		}
	}
	if found.MongoDB == "" {
		found.MongoDB = s.Images.MongoDB
	}
	s.Images = found
	return nil
}

func mongodbImage(s *Settings, raw string) error {
	if err := imageReference(raw); err != nil {
		return err
	}
	if s.Images.MongoDB == "" {
		s.Images.MongoDB = raw
	}
	return nil
}

func expiry(s *Settings, raw string) error {
	at, err := time.Parse(time.RFC3339, raw)
	if err != nil {
		return errors.New("it must be a time in RFC 3339, such as 2026-12-31T18:00:00Z")
	}
	s.ExpiresAt = at.UTC()
	return nil
}

var restorePattern = regexp.MustCompile(`^([a-z][a-z0-9-]{0,50})/(\d{8}T\d{6}Z-[0-9a-f]{6})$`)

// restoreFrom reads STACK/ID, and STACK/ID+masked.
func restoreFrom(s *Settings, raw string) error {
	name, masked := strings.CutSuffix(raw, "+masked")
	m := restorePattern.FindStringSubmatch(name)
	if m == nil {
		return errors.New("it must be STACK/ID of a backup, such as production/20261231T235959Z-0a1b2c, and +masked after it for pseudonyms")
	}
	s.Restore = &Restore{Stack: m[1], ID: m[2], Mask: masked}
	return nil
}

// cronSchedule checks five fields of numbers, stars, ranges, lists and steps; the API server checks their bounds.
func cronSchedule(v string) error {
	fields := strings.Fields(v)
	for _, f := range fields {
		if strings.Trim(f, "0123456789*/,-") != "" {
			return fmt.Errorf("%q is no field of a schedule; five fields as in cron, UTC", f)
		}
	}
	if len(fields) != 5 {
		return errors.New("it must have five fields as in cron, UTC: minute hour day month weekday")
	}
	return nil
}

func foundationValues(s *Settings, raw string) error {
	var f FoundationValues
	if err := object(raw, &f); err != nil {
		return err
	}
	var missing []string
	for _, field := range []struct{ name, value string }{
		{"addressName", f.AddressName}, {"address", f.Address}, {"certificateName", f.CertificateName}, {"host", f.Host}, {"domain", f.Domain},
		{"dnsZone", f.DNSZone}, {"repository", f.Repository}, {"nodeServiceAccount", f.NodeServiceAccount}, {"tagServiceAccount", f.TagServiceAccount},
		{"backupServiceAccount", f.BackupServiceAccount}, {"backupBucket", f.BackupBucket}, {"notificationChannel", f.NotificationChannel},
	} {
		if field.value == "" {
			missing = append(missing, field.name)
		}
	}
	if missing != nil {
		return errors.New("it lacks " + strings.Join(missing, ", "))
	}
	s.Foundation = &f
	return nil
}
