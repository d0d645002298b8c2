package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/config/contour"
	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/problem"
)

// inputs are the flags that say what to read: a configuration with its
// repositories, a directory of manifests, or that directory under the
// configuration's settings.
type inputs struct {
	settings
	manifests           string
	rootNamespaces      string
	watchNamespaces     string
	ingressClass        string
	fallbackCertificate string
	verbose             bool
}

func (in *inputs) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	in.settings.flags(f)
	f.StringVar(&in.manifests, "manifests", "", "read `DIR` instead of the configuration's repositories: rendered where it has a kustomization, else every YAML file below it")
	f.StringVar(&in.rootNamespaces, "root-namespaces", "", "namespaces that may hold root HTTPProxies, separated by commas (default all)")
	f.StringVar(&in.watchNamespaces, "watch-namespaces", "", "namespaces whose objects take part, separated by commas (default all)")
	f.StringVar(&in.ingressClass, "ingress-class", "", "ingress classes served, separated by commas (default: no class, contour, isoline)")
	f.StringVar(&in.fallbackCertificate, "fallback-certificate", "", "Secret `NAMESPACE/NAME` for clients that send no server name, of hosts that ask for it")
	f.BoolVarP(&in.verbose, "verbose", "v", false, "log details to stderr")
}

// onlyFlags refuses arguments: a directory has a flag of its own.
func onlyFlags(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes flags only, and %q is none: give a directory of manifests with --manifests DIR", cmd.Name(), args[0])
}

// options turns the flags into what the pipeline takes.
func (in *inputs) options() (pipeline.Options, error) {
	o := pipeline.Options{Manifests: in.manifests, Log: in.logger()}
	if in.manifests != "" {
		if info, err := os.Stat(in.manifests); err != nil {
			return o, fmt.Errorf("read manifests: %w", err)
		} else if !info.IsDir() {
			return o, fmt.Errorf("read manifests: %s is not a directory", in.manifests)
		}
	}
	if in.file == "" && in.manifests == "" {
		return o, errors.New("nothing to read: give the platform's configuration with -c FILE, or a directory with --manifests DIR")
	}
	var err error
	if o.Config, o.Problems, err = in.load(); err != nil {
		return o, err
	}
	return o, in.override(o.Config)
}

// override puts the flags that were given into the configuration, and checks
// it as it is then.
func (in *inputs) override(c *config.Config) error {
	for _, list := range []struct {
		flag string
		into *[]string
	}{
		{in.rootNamespaces, &c.Cluster.RootNamespaces},
		{in.watchNamespaces, &c.Cluster.WatchNamespaces},
		{in.ingressClass, &c.Cluster.IngressClasses},
	} {
		if list.flag != "" {
			*list.into = strings.Split(list.flag, ",")
		}
	}
	if in.fallbackCertificate != "" {
		name, err := config.ParseNamespacedName(in.fallbackCertificate)
		if err != nil {
			return fmt.Errorf("--fallback-certificate: %w", err)
		}
		c.Routing.FallbackCertificate = name
	}
	var errs []error
	for _, e := range c.Check() {
		e.File = "with the flags and files that are given"
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

func (in *inputs) logger() *slog.Logger {
	level := slog.LevelInfo
	if in.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// settings are the flags that name configuration files.
type settings struct {
	file    string
	contour string
}

func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVarP(&s.file, "config", "c", "", "the platform's configuration `FILE`")
	f.StringVar(&s.contour, "contour-config", "", "Contour's own configuration `FILE`; what -c says comes before it")
}

// load reads the files; the problems are of Contour's. What is in neither file
// has its default.
func (s *settings) load() (*config.Config, []problem.Problem, error) {
	var base config.Config
	var problems []problem.Problem
	if s.contour != "" {
		var err error
		if base, problems, err = contour.Load(s.contour); err != nil {
			return nil, nil, err
		}
	}
	if s.file == "" {
		return config.Complete(base), problems, nil
	}
	c, err := config.LoadOver(base, s.file)
	return c, problems, err
}
