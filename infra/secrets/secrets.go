// Package secrets is the platform's secrets in Secret Manager. A secret that is not given is generated, once: there
// are no default values, and none is ever printed.
package secrets

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/secretmanager"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Given are values that the operator chose; a nil one is generated.
type Given struct {
	TagKey            pulumi.StringInput
	MongoRootPassword pulumi.StringInput
	MongoAppPassword  pulumi.StringInput
	MongoKeyfile      pulumi.StringInput
}

// Args of Secrets.
type Args struct {
	// Prefix of the secrets' ids.
	Prefix string
	Given  Given
	Labels pulumi.StringMapInput
}

// Values are the secrets themselves, as Pulumi secrets.
type Values struct {
	// TagKey signs the tokens in impression and click URLs.
	TagKey            pulumi.StringOutput
	MongoRootPassword pulumi.StringOutput
	MongoAppPassword  pulumi.StringOutput
	// MongoKeyfile is what the members of a replica set know each other by: base64 text.
	MongoKeyfile pulumi.StringOutput
}

// Secrets is the component.
type Secrets struct {
	pulumi.ResourceState

	Values Values
}

// New makes the Secrets.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Secrets, error) {
	if args == nil || args.Prefix == "" {
		return nil, errors.New("secrets: Prefix is required")
	}
	s := &Secrets{}
	if err := ctx.RegisterComponentResource("patag:secrets:Secrets", name, s, opts...); err != nil {
		return nil, err
	}
	for _, secret := range []struct {
		short string
		// bytes of randomness when it is generated
		bytes int
		given pulumi.StringInput
		value *pulumi.StringOutput
	}{
		{"tag-key", 48, args.Given.TagKey, &s.Values.TagKey},
		{"mongo-root-password", 24, args.Given.MongoRootPassword, &s.Values.MongoRootPassword},
		{"mongo-app-password", 24, args.Given.MongoAppPassword, &s.Values.MongoAppPassword},
		{"mongo-keyfile", 384, args.Given.MongoKeyfile, &s.Values.MongoKeyfile},
	} {
		var err error
		*secret.value, err = s.keep(ctx, name+"-"+secret.short, args.Prefix+"-"+secret.short, secret.given, secret.bytes, args.Labels)
		if err != nil {
			return nil, err
		}
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

// keep puts one secret into Secret Manager and answers the value that is kept there.
func (s *Secrets) keep(ctx *pulumi.Context, name, id string, given pulumi.StringInput, size int, labels pulumi.StringMapInput) (pulumi.StringOutput, error) {
	none := pulumi.StringOutput{}
	secret, err := secretmanager.NewSecret(ctx, name, &secretmanager.SecretArgs{
		SecretId:    pulumi.String(id),
		Replication: &secretmanager.SecretReplicationArgs{Auto: &secretmanager.SecretReplicationAutoArgs{}},
		Labels:      labels,
	}, pulumi.Parent(s))
	if err != nil {
		return none, err
	}
	opts := []pulumi.ResourceOption{pulumi.Parent(s), pulumi.AdditionalSecretOutputs([]string{"secretData"})}
	if given == nil {
		generated, err := generate(size)
		if err != nil {
			return none, fmt.Errorf("generate secret %s: %w", id, err)
		}
		given = pulumi.String(generated)
		// Each run generates another value, and the engine keeps the first.
		opts = append(opts, pulumi.IgnoreChanges([]string{"secretData"}))
	}
	version, err := secretmanager.NewSecretVersion(ctx, name, &secretmanager.SecretVersionArgs{
		Secret:     secret.ID().ToStringOutput(),
		SecretData: pulumi.ToSecret(given).(pulumi.StringOutput),
	}, opts...)
	if err != nil {
		return none, err
	}
	return pulumi.ToSecret(version.SecretData).(pulumi.StringOutput), nil
}

// generate makes text of so many random bytes. Hexadecimal, because it is text to a URL and base64 to a MongoDB keyfile
// (of at most 1,024 characters).
func generate(size int) (string, error) {
	raw := make([]byte, size)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return hex.EncodeToString(raw), nil
}
