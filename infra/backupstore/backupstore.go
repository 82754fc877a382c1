// Package backupstore is the bucket that backups go to. It keeps overwritten and deleted objects for a while, deletes
// old ones, and lets one account write and read, but not delete.
package backupstore

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/storage"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Args of a Store.
type Args struct {
	Location pulumi.StringInput
	// RetentionDays is the age at which a backup is deleted.
	RetentionDays int
	// VersionDays is how long an overwritten or deleted backup is kept.
	VersionDays int
	// Writer is the IAM member that writes and restores backups: serviceAccount:<e-mail>.
	Writer pulumi.StringInput
	Labels pulumi.StringMapInput
}

// Store is the component.
type Store struct {
	pulumi.ResourceState

	Bucket pulumi.StringOutput `pulumi:"bucket"`
}

// New makes a Store.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Store, error) {
	if args == nil || args.Location == nil || args.Writer == nil || args.RetentionDays < 1 || args.VersionDays < 1 {
		return nil, errors.New("backupstore: Location, Writer, RetentionDays and VersionDays are required")
	}
	s := &Store{}
	if err := ctx.RegisterComponentResource("patag:backupstore:Store", name, s, opts...); err != nil {
		return nil, err
	}
	remove := &storage.BucketLifecycleRuleActionArgs{Type: pulumi.String("Delete")}
	bucket, err := storage.NewBucket(ctx, name, &storage.BucketArgs{
		Location:                 args.Location,
		StorageClass:             pulumi.String("STANDARD"),
		UniformBucketLevelAccess: pulumi.Bool(true),
		PublicAccessPrevention:   pulumi.String("enforced"),
		Versioning:               &storage.BucketVersioningArgs{Enabled: pulumi.Bool(true)},
		// A destroy of the stack stops at a bucket that still holds backups.
		ForceDestroy: pulumi.Bool(false),
		LifecycleRules: storage.BucketLifecycleRuleArray{
			&storage.BucketLifecycleRuleArgs{Action: remove, Condition: &storage.BucketLifecycleRuleConditionArgs{
				Age: pulumi.Int(args.RetentionDays), WithState: pulumi.String("LIVE"),
			}},
			&storage.BucketLifecycleRuleArgs{Action: remove, Condition: &storage.BucketLifecycleRuleConditionArgs{
				DaysSinceNoncurrentTime: pulumi.Int(args.VersionDays), WithState: pulumi.String("ARCHIVED"),
			}},
			&storage.BucketLifecycleRuleArgs{
				Action:    &storage.BucketLifecycleRuleActionArgs{Type: pulumi.String("AbortIncompleteMultipartUpload")},
				Condition: &storage.BucketLifecycleRuleConditionArgs{Age: pulumi.Int(7)},
			},
		},
		Labels: args.Labels,
	}, pulumi.Parent(s))
	if err != nil {
		return nil, err
	}
	// Creator and viewer, not admin: whoever takes over the backup job cannot delete the backups.
	for _, grant := range []struct{ short, role string }{{"create", "roles/storage.objectCreator"}, {"read", "roles/storage.objectViewer"}} {
		if _, err := storage.NewBucketIAMMember(ctx, name+"-"+grant.short, &storage.BucketIAMMemberArgs{
			Bucket: bucket.Name, Role: pulumi.String(grant.role), Member: args.Writer,
		}, pulumi.Parent(s)); err != nil {
			return nil, err
		}
	}
	s.Bucket = bucket.Name
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{"bucket": s.Bucket})
}
