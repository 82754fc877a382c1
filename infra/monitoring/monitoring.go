// Package monitoring watches the service from outside: an uptime check from Google's own probes, alerts to whoever is
// on call when it fails or is slow, and a dashboard of the load balancer's figures.
package monitoring

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/monitoring"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// SlowMilliseconds is the promise to keep: time to first byte of 95 of 100 requests.
const SlowMilliseconds = 300

// Args of a Watch.
type Args struct {
	Project pulumi.StringInput
	// Title tells the stack's figures apart from others'.
	Title string
	// Address and Path of what is asked, over HTTP.
	Address pulumi.StringInput
	Path    string
	// Channel is the notification channel's resource name.
	Channel pulumi.StringInput
}

// Watch is the component.
type Watch struct {
	pulumi.ResourceState
}

// New makes a Watch.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Watch, error) {
	if args == nil || args.Project == nil || args.Title == "" || args.Address == nil || args.Path == "" || args.Channel == nil {
		return nil, errors.New("monitoring: Project, Title, Address, Path and Channel are required")
	}
	w := &Watch{}
	if err := ctx.RegisterComponentResource("patag:monitoring:Watch", name, w, opts...); err != nil {
		return nil, err
	}
	check, err := monitoring.NewUptimeCheckConfig(ctx, name, &monitoring.UptimeCheckConfigArgs{
		DisplayName: pulumi.String(args.Title + ": an ad is served"),
		Period:      pulumi.String("60s"),
		Timeout:     pulumi.String("5s"),
		HttpCheck: &monitoring.UptimeCheckConfigHttpCheckArgs{
			Path: pulumi.String(args.Path), Port: pulumi.Int(80), RequestMethod: pulumi.String("GET"),
		},
		MonitoredResource: &monitoring.UptimeCheckConfigMonitoredResourceArgs{
			Type:   pulumi.String("uptime_url"),
			Labels: pulumi.StringMap{"project_id": args.Project, "host": args.Address},
		},
	}, pulumi.Parent(w))
	if err != nil {
		return nil, err
	}
	if err := w.alerts(ctx, name, args, check); err != nil {
		return nil, err
	}
	body, err := dashboard(args.Title)
	if err != nil {
		return nil, err
	}
	if _, err := monitoring.NewDashboard(ctx, name, &monitoring.DashboardArgs{DashboardJson: pulumi.String(body)}, pulumi.Parent(w)); err != nil {
		return nil, err
	}
	return w, ctx.RegisterResourceOutputs(w, pulumi.Map{})
}

func (w *Watch) alerts(ctx *pulumi.Context, name string, args *Args, check *monitoring.UptimeCheckConfig) error {
	for _, alert := range []struct {
		short, title, text string
		condition          *monitoring.AlertPolicyConditionConditionThresholdArgs
	}{
		{"down", "the service does not answer", "Google's probes get no ad from more than one region. See docs/runbooks.", &monitoring.AlertPolicyConditionConditionThresholdArgs{
			Filter: pulumi.Sprintf(`resource.type = "uptime_url" AND metric.type = "monitoring.googleapis.com/uptime_check/check_passed" AND metric.labels.check_id = "%s"`, check.UptimeCheckId),
			// Two probes of different regions, so that a region's own trouble wakes nobody.
			Comparison: pulumi.String("COMPARISON_GT"), ThresholdValue: pulumi.Float64(1), Duration: pulumi.String("60s"),
			Aggregations: monitoring.AlertPolicyConditionConditionThresholdAggregationArray{&monitoring.AlertPolicyConditionConditionThresholdAggregationArgs{
				AlignmentPeriod: pulumi.String("60s"), PerSeriesAligner: pulumi.String("ALIGN_NEXT_OLDER"),
				CrossSeriesReducer: pulumi.String("REDUCE_COUNT_FALSE"), GroupByFields: pulumi.ToStringArray([]string{"resource.label.host"}),
			}},
		}},
		{"slow", "ads are slow", "95 of 100 requests take longer than promised for five minutes. See docs/runbooks.", &monitoring.AlertPolicyConditionConditionThresholdArgs{
			Filter:     pulumi.String(latencyFilter),
			Comparison: pulumi.String("COMPARISON_GT"), ThresholdValue: pulumi.Float64(SlowMilliseconds), Duration: pulumi.String("300s"),
			Aggregations: monitoring.AlertPolicyConditionConditionThresholdAggregationArray{&monitoring.AlertPolicyConditionConditionThresholdAggregationArgs{
				AlignmentPeriod: pulumi.String("60s"), PerSeriesAligner: pulumi.String("ALIGN_DELTA"), CrossSeriesReducer: pulumi.String("REDUCE_PERCENTILE_95"),
			}},
		}},
	} {
		if _, err := monitoring.NewAlertPolicy(ctx, name+"-"+alert.short, &monitoring.AlertPolicyArgs{
			DisplayName: pulumi.String(args.Title + ": " + alert.title),
			Combiner:    pulumi.String("OR"),
			Conditions: monitoring.AlertPolicyConditionArray{&monitoring.AlertPolicyConditionArgs{
				DisplayName: pulumi.String(alert.title), ConditionThreshold: alert.condition,
			}},
			NotificationChannels: pulumi.StringArray{args.Channel},
			Documentation: &monitoring.AlertPolicyDocumentationArgs{
				Content: pulumi.String(alert.text), MimeType: pulumi.String("text/markdown"),
			},
		}, pulumi.Parent(w)); err != nil {
			return err
		}
	}
	return nil
}
