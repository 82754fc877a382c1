package stacks

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
	"patag/infra/reaper"
	"patag/infra/workloadidentity"
	"patag/stacks/config"
)

// reap is what deletes the clusters of stagings whose time is over: production's business, as it is always there. Values that stand
// in for a foundation may name no account for it; then there is none.
func reap(ctx *pulumi.Context, s *config.Settings, g *ground, target *kube.Target) error {
	if s.Kind != config.Production || s.ReaperSchedule == "" || g.reaperAccount == nil {
		return nil
	}
	account, err := workloadidentity.New(ctx, reaper.Part, &workloadidentity.Args{
		Target: target, Project: pulumi.String(s.Project), Google: g.reaperAccount, Name: reaper.Part,
	})
	if err != nil {
		return err
	}
	_, err = reaper.New(ctx, reaper.Part, &reaper.Args{
		Target: target, Image: pulumi.String(s.Images.Reaper), ServiceAccount: account.Name, Project: pulumi.String(s.Project),
		Schedule: s.ReaperSchedule, NodeSelector: onPool(poolStandard),
	})
	return err
}
