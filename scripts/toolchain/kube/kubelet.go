package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	"k8s.io/kubernetes/pkg/util/filesystem"
)

// newMachineKubeletCommand is the kubelet on a machine of another shape than this one: its cAdvisor shows the machine
// of the environment variable PATAG_MACHINE. Upstream's command has no way to pass a cAdvisor, so this one does what
// it does, with a config file only.
func newMachineKubeletCommand(shape machineShape) *cobra.Command {
	flags := options.NewKubeletFlags()
	cmd := &cobra.Command{
		Use:          "kubelet",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return runKubelet(flags, shape)
		},
	}
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	flags.AddFlags(fs)
	options.AddGlobalFlags(fs)
	cmd.Flags().AddFlagSet(fs)
	return cmd
}

func runKubelet(flags *options.KubeletFlags, shape machineShape) error {
	if flags.KubeletConfigFile == "" {
		return errors.New("--config is required")
	}
	if err := options.ValidateKubeletFlags(flags); err != nil {
		return fmt.Errorf("validate kubelet flags: %w", err)
	}
	ctx := genericapiserver.SetupSignalContext()
	config, err := loadKubeletConfig(ctx, flags.KubeletConfigFile)
	if err != nil {
		return err
	}
	gate := utilfeature.DefaultMutableFeatureGate
	if err := gate.SetFromMap(config.FeatureGates); err != nil {
		return fmt.Errorf("set feature gates: %w", err)
	}
	logs.InitLogs()
	if err := logsapi.ValidateAndApplyAsField(&config.Logging, gate, field.NewPath("logging")); err != nil {
		return fmt.Errorf("set up logging: %w", err)
	}
	if err := validation.ValidateKubeletConfiguration(config, gate); err != nil {
		return fmt.Errorf("validate %s: %w", flags.KubeletConfigFile, err)
	}
	server := &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *config}
	deps, err := app.UnsecuredDependencies(ctx, server, gate)
	if err != nil {
		return fmt.Errorf("make the kubelet's dependencies: %w", err)
	}
	images := cadvisor.NewImageFsInfoProvider(config.ContainerRuntimeEndpoint)
	// The whole node's control group is watched, not only its pods'.
	real, err := cadvisor.New(images, flags.RootDirectory, []string{config.CgroupRoot},
		cadvisor.UsingLegacyCadvisorStats(config.ContainerRuntimeEndpoint), false)
	if err != nil {
		return fmt.Errorf("make cAdvisor: %w", err)
	}
	deps.CAdvisorInterface = &shapedMachine{real, shape, config.CgroupRoot, flags.RootDirectory}
	return app.Run(ctx, server, deps, gate)
}

func loadKubeletConfig(ctx context.Context, file string) (*kubeletconfig.KubeletConfiguration, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	loader, err := configfiles.NewFsLoader(&filesystem.DefaultFs{}, abs)
	if err != nil {
		return nil, err
	}
	config, err := loader.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", abs, err)
	}
	return config, nil
}

// kubelet is upstream's command unless the environment describes another machine.
func kubeletCommand() *cobra.Command {
	raw, ok := os.LookupEnv("PATAG_MACHINE")
	if !ok {
		return app.NewKubeletCommand(context.Background())
	}
	shape, err := parseMachineShape(raw)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelet: PATAG_MACHINE:", err)
		os.Exit(2)
	}
	return newMachineKubeletCommand(shape)
}
