package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/pipeline"
)

func newRoute() *cobra.Command {
	var in inputs
	var out output
	var method string
	var headers []string
	cmd := &cobra.Command{
		Use:   "route [-c FILE] [--manifests DIR] URL",
		Short: "Say which route takes a request, and which objects put it there",
		Args:  oneURL,
		Example: `  isoline route -c isoline.yaml http://www.example.com/blog
  isoline route --manifests routes/ -X POST -H 'x-beta: yes' http://www.example.com/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := parseRequest(method, headers, args[0])
			if err != nil {
				return err
			}
			opts, err := in.options()
			if err != nil {
				return err
			}
			built, err := pipeline.Load(cmd.Context(), opts)
			if err != nil {
				return err
			}
			found := built.Route(request)
			if out.json() {
				err = printJSON(cmd.OutOrStdout(), found)
			} else {
				err = printRoute(cmd.OutOrStdout(), found)
			}
			if err == nil && !found.Matched {
				return errProblems
			}
			return err
		},
	}
	in.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVarP(&method, "request", "X", http.MethodGet, "request `METHOD`")
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "request header `'NAME: VALUE'`; may be given again")
	return cmd
}

// oneURL lets a command be given a URL and nothing else.
func oneURL(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return errors.New("no URL: give the request's, such as http://www.example.com/blog")
	case 1:
		return nil
	default:
		return fmt.Errorf("one URL at a time: %q is more", args[1])
	}
}

// parseRequest reads what curl would be given.
func parseRequest(method string, headers []string, target string) (dag.Request, error) {
	r := dag.Request{Method: method, Headers: map[string][]string{}}
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return r, fmt.Errorf("read the URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return r, fmt.Errorf("read the URL: %q is not http(s)://host/path", target)
	}
	r.Host, r.TLS, r.Path = u.Host, u.Scheme == "https", u.EscapedPath()
	if r.Path == "" {
		r.Path = "/"
	}
	if u.RawQuery != "" {
		r.Path += "?" + u.RawQuery
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return r, fmt.Errorf("read the header %q: it is not 'NAME: VALUE'", h)
		}
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "host") {
			r.Host = value
			continue
		}
		name = http.CanonicalHeaderKey(name)
		r.Headers[name] = append(r.Headers[name], value)
	}
	return r, nil
}

func printRoute(w io.Writer, f pipeline.RouteReport) error {
	switch {
	case f.TCP:
	case !f.Matched && f.Status == 0:
		_, err := fmt.Fprintln(w, "no host: the TLS handshake fails, as no certificate is served for that name")
		return err
	case !f.Matched && (f.Status == http.StatusTemporaryRedirect || f.Status == http.StatusBadRequest):
		_, err := fmt.Fprintf(w, "the answer is %d, before a route is looked for: the listeners' settings about paths and header names ask for it\n", f.Status)
		return err
	case !f.Matched:
		_, err := fmt.Fprintf(w, "no route: the answer is %d\n", f.Status)
		return err
	}
	fmt.Fprintf(w, "host     %s\nmatch    %s\n", f.Host, f.Match)
	if f.Status != 0 {
		fmt.Fprintf(w, "answer   %d, without an upstream\n", f.Status)
	}
	weighted := slices.ContainsFunc(f.Services, func(s pipeline.ServiceReport) bool { return s.Weight > 0 })
	for _, s := range f.Services {
		fmt.Fprintf(w, "service  %s/%s:%d", s.Namespace, s.Name, s.Port)
		if weighted { // otherwise they share evenly
			fmt.Fprintf(w, "  weight %d", s.Weight)
		}
		fmt.Fprintln(w)
	}
	for i, c := range f.Chain {
		name := "via"
		if i == 0 {
			name = "root"
		}
		fmt.Fprintf(w, "%-8s %s %s/%s  %s\n", name, c.Kind, c.Namespace, c.Name, c.Origin)
	}
	if f.LastGood {
		fmt.Fprintln(w, "This is the last good action: the route as written now is in error.")
	}
	return nil
}
