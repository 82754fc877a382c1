// Package stacks is the programs: one function per kind of stack, made of the components in infra. They read nothing
// but their stack's configuration (package config) and the foundation's outputs, and know of no cloud but Google's.
package stacks

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumiconfig "github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"patag/infra/secrets"
	"patag/stacks/config"
)

// Run is the program of a stack: its kind (patag:kind) picks which. Nothing is registered before the configuration is
// found to be right.
func Run(ctx *pulumi.Context) error {
	settings, err := config.Load(source(ctx))
	if err != nil {
		return err
	}
	switch settings.Kind {
	case config.Foundation:
		return foundation(ctx, settings)
	case config.Production, config.Staging:
		return platform(ctx, settings)
	}
	return fmt.Errorf("the program of kind %q is not built yet; use foundation, production or staging", settings.Kind)
}

// source reads the configuration of the running program. The SDK answers single keys only; all of them, to find
// misspelt ones, are in the environment when the engine started this process. Where a command runs the program inline
// they are not, and the command checks them with config.Load before.
func source(ctx *pulumi.Context) config.Source {
	src := config.Source{Stack: ctx.Stack(), Get: ctx.GetConfig}
	var all map[string]any
	if raw := os.Getenv(pulumi.EnvConfig); raw != "" && json.Unmarshal([]byte(raw), &all) == nil {
		for key := range all {
			src.Keys = append(src.Keys, key)
		}
	}
	return src
}

// givenSecrets are the secrets that the stack's configuration has; the others are generated.
func givenSecrets(ctx *pulumi.Context) secrets.Given {
	cfg := pulumiconfig.New(ctx, config.Namespace)
	given := func(key string) pulumi.StringInput {
		if _, ok := ctx.GetConfig(config.Namespace + ":" + key); !ok {
			return nil
		}
		return cfg.RequireSecret(key)
	}
	return secrets.Given{
		TagKey:            given("tagKey"),
		MongoRootPassword: given("mongoRootPassword"),
		MongoAppPassword:  given("mongoAppPassword"),
		MongoKeyfile:      given("mongoKeyfile"),
	}
}

// labels are on every resource that takes some, so that a bill and a sweep can tell stacks apart.
func labels(ctx *pulumi.Context) pulumi.StringMap {
	return pulumi.StringMap{"app": pulumi.String("patag"), "stack": pulumi.String(ctx.Stack())}
}

// LabelTime is how a time is written in a label, which knows neither colons nor capitals.
const LabelTime = "20060102t150405z"

// ownLabels are the labels of a platform: a staging's say too whose it is and until when.
func ownLabels(ctx *pulumi.Context, s *config.Settings) pulumi.StringMap {
	all := labels(ctx)
	if s.Kind == config.Staging {
		all["owner"] = pulumi.String(s.Owner)
		all["project"] = pulumi.String(strings.TrimPrefix(s.Stack, config.StagingPrefix))
		if !s.ExpiresAt.IsZero() {
			all["expires-at"] = pulumi.String(s.ExpiresAt.Format(LabelTime))
		}
	}
	return all
}
