// Package oncall is where alerts go.
package oncall

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/monitoring"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Args of a Channel.
type Args struct {
	Email pulumi.StringInput
}

// Channel is the component.
type Channel struct {
	pulumi.ResourceState

	// Name is the channel's resource name, as alert policies refer to it.
	Name pulumi.StringOutput `pulumi:"name"`
}

// New makes a Channel.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Channel, error) {
	if args == nil || args.Email == nil {
		return nil, errors.New("oncall: Email is required")
	}
	c := &Channel{}
	if err := ctx.RegisterComponentResource("patag:oncall:Channel", name, c, opts...); err != nil {
		return nil, err
	}
	channel, err := monitoring.NewNotificationChannel(ctx, name, &monitoring.NotificationChannelArgs{
		Type:        pulumi.String("email"),
		DisplayName: pulumi.String("On call"),
		Labels:      pulumi.StringMap{"email_address": args.Email},
		ForceDelete: pulumi.Bool(false), // not while an alert still goes there
	}, pulumi.Parent(c))
	if err != nil {
		return nil, err
	}
	c.Name = channel.Name
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{"name": c.Name})
}
