package stacks

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/backup"
	"patag/infra/catalogue"
	"patag/infra/ferretdb"
	"patag/infra/kube"
	"patag/infra/mongo"
	"patag/infra/redis"
	"patag/infra/tagserver"
	"patag/infra/twemproxy"
	"patag/infra/workloadidentity"
	"patag/stacks/config"
)

// dataServices is what the applications reach the data tier by.
type dataServices struct {
	mongoURI     pulumi.StringInput // a secret
	redisAddress pulumi.StringInput
	upstreams    []tagserver.Upstream
	// restored is there when the database was filled from a backup; nil when it is used as it is.
	restored pulumi.Resource
}

// dataTier is Redis behind twemproxy, the Mongo store, and the demo catalogue in it if there is one.
func dataTier(ctx *pulumi.Context, s *config.Settings, g *ground, target *kube.Target, demo string) (*dataServices, error) {
	shards, err := redis.New(ctx, "redis", &redis.Args{
		Target: target, Image: pulumi.String(s.Images.Redis), MemoryMiB: s.RedisMemoryMiB, DiskGiB: s.RedisDiskGiB,
		Client: twemproxy.Part, NodeSelector: onPool(poolStandard),
	})
	if err != nil {
		return nil, err
	}
	proxy, err := twemproxy.New(ctx, "twemproxy", &twemproxy.Args{
		Target: target, Image: pulumi.String(s.Images.Nutcracker), Servers: shards.Servers, ServerPart: redis.Part, ServerPort: redis.Port,
		NodeSelector: onPool(poolStandard),
	})
	if err != nil {
		return nil, err
	}
	uri, ready, err := store(ctx, s, g, target)
	if err != nil {
		return nil, err
	}
	restored, err := backups(ctx, s, g, target, uri, ready)
	if err != nil {
		return nil, err
	}
	if demo != "" && s.Restore == nil {
		if _, err := catalogue.New(ctx, "catalogue", &catalogue.Args{
			Target: target, Image: pulumi.String(s.Images.Tag), Content: demo, MongoURI: uri,
			StorePart: mongo.Part, StorePort: mongo.Port, StoreReady: ready, NodeSelector: onPool(poolStandard),
		}); err != nil {
			return nil, err
		}
	}
	bidders, err := bid(ctx, s, target)
	if err != nil {
		return nil, err
	}
	return &dataServices{
		mongoURI: uri, redisAddress: proxy.Address, restored: restored,
		upstreams: append([]tagserver.Upstream{{Part: twemproxy.Part, Port: twemproxy.Port}, {Part: mongo.Part, Port: mongo.Port}}, bidders...),
	}, nil
}

// store is the Mongo store of the engine that the stack chose.
func store(ctx *pulumi.Context, s *config.Settings, g *ground, target *kube.Target) (uri pulumi.StringInput, ready pulumi.Resource, err error) {
	if s.Engine == config.FerretDB {
		made, err := ferretdb.New(ctx, "mongo", &ferretdb.Args{
			Target: target, Image: pulumi.String(s.Images.FerretDB), Database: s.Database, DiskGiB: s.MongoDiskGiB,
			NodeSelector: onPool(poolStandard), Protect: s.ProtectData,
		})
		if err != nil {
			return nil, nil, err
		}
		return made.URI, made.Ready, nil
	}
	made, err := mongo.New(ctx, "mongo", &mongo.Args{
		Target: target, Image: pulumi.String(s.Images.MongoDB), Database: s.Database, DiskGiB: s.MongoDiskGiB, NodeSelector: onPool(poolStandard),
		RootPassword: g.secrets.MongoRootPassword, AppPassword: g.secrets.MongoAppPassword, Keyfile: g.secrets.MongoKeyfile, Protect: s.ProtectData,
	})
	if err != nil {
		return nil, nil, err
	}
	return made.URI, made.Ready, nil
}

// backups are what production takes, and what a database is filled from. A staging that restores nothing has neither the
// program nor the account that may read production's backups.
func backups(ctx *pulumi.Context, s *config.Settings, g *ground, target *kube.Target, uri pulumi.StringInput, ready pulumi.Resource) (pulumi.Resource, error) {
	if s.Kind != config.Production && s.Restore == nil {
		return nil, nil
	}
	account, err := workloadidentity.New(ctx, "backup", &workloadidentity.Args{
		Target: target, Project: pulumi.String(s.Project), Google: g.backupAccount, Name: "backup",
	})
	if err != nil {
		return nil, err
	}
	args := &backup.Args{
		Target: target, Image: pulumi.String(s.Images.Backup), ServiceAccount: account.Name, Stack: s.Stack, Bucket: g.backupBucket,
		MongoURI: uri, StorePart: mongo.Part, StorePort: mongo.Port, StoreReady: ready, Schedule: s.BackupSchedule, NodeSelector: onPool(poolStandard),
	}
	if r := s.Restore; r != nil {
		args.Restore = &backup.Restore{Stack: r.Stack, ID: r.ID, Database: s.Database, Mask: r.Mask}
	}
	made, err := backup.New(ctx, "backup", args)
	if err != nil {
		return nil, err
	}
	return made.Restored, nil
}
