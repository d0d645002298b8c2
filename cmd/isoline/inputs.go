package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/pipeline"
)

// inputs are the flags that say what to read: a configuration with its
// repositories, a directory of manifests, or that directory under the
// configuration's settings.
type inputs struct {
	file           string
	manifests      string
	rootNamespaces string
	ingressClass   string
	verbose        bool
}

func (in *inputs) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&in.file, "config", "c", "", "the platform's configuration `FILE`")
	f.StringVar(&in.manifests, "manifests", "", "read `DIR` instead of the configuration's repositories: rendered where it has a kustomization, else every YAML file below it")
	f.StringVar(&in.rootNamespaces, "root-namespaces", "", "namespaces that may hold root HTTPProxies, separated by commas (default all)")
	f.StringVar(&in.ingressClass, "ingress-class", "", "ingress classes served, separated by commas (default: no class, contour, isoline)")
	f.BoolVarP(&in.verbose, "verbose", "v", false, "log details to stderr")
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
	switch {
	case in.file != "":
		c, err := config.Load(in.file)
		if err != nil {
			return o, err
		}
		o.Config = c
	case in.manifests != "":
		o.Config = config.Default()
	default:
		return o, errors.New("nothing to read: give the platform's configuration with -c FILE, or a directory with --manifests DIR")
	}
	if in.rootNamespaces != "" {
		o.Config.Cluster.RootNamespaces = strings.Split(in.rootNamespaces, ",")
	}
	if in.ingressClass != "" {
		o.Config.Cluster.IngressClasses = strings.Split(in.ingressClass, ",")
	}
	return o, nil
}

func (in *inputs) logger() *slog.Logger {
	level := slog.LevelInfo
	if in.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
