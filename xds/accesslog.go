package xds

import (
	"slices"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	withoutqueryv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"isoline.dev/isoline/manifest"
)

// AccessLog is a line for each request. Its zero value is none.
type AccessLog struct {
	Enabled bool
	// LeastStatus leaves out requests with a status below it; zero logs all.
	LeastStatus uint32
	// Fields are the members of a line of JSON, each with its format. With
	// none, lines are text.
	Fields map[string]string
	// Text is the format of a line; empty is Envoy's own. A line break is added
	// where it has none at its end.
	Text string
	// Path is the file; empty is Envoy's standard output.
	Path string
}

func (a *AccessLog) loggers() []*accesslogv3.AccessLog {
	if !a.Enabled {
		return nil
	}
	l := &accesslogv3.AccessLog{Filter: a.filter()}
	if a.Path == "" {
		to := &streamv3.StdoutAccessLog{}
		if f := a.format(); f != nil {
			to.AccessLogFormat = &streamv3.StdoutAccessLog_LogFormat{LogFormat: f}
		}
		l.Name = "envoy.access_loggers.stdout"
		l.ConfigType = &accesslogv3.AccessLog_TypedConfig{TypedConfig: mustAny(to)}
	} else {
		to := &filev3.FileAccessLog{Path: a.Path}
		if f := a.format(); f != nil {
			to.AccessLogFormat = &filev3.FileAccessLog_LogFormat{LogFormat: f}
		}
		l.Name = "envoy.access_loggers.file"
		l.ConfigType = &accesslogv3.AccessLog_TypedConfig{TypedConfig: mustAny(to)}
	}
	return []*accesslogv3.AccessLog{l}
}

// filter is nil where all requests are logged.
func (a *AccessLog) filter() *accesslogv3.AccessLogFilter {
	if a.LeastStatus == 0 {
		return nil
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op: accesslogv3.ComparisonFilter_GE,
			// The key is of a runtime setting that nobody makes; Envoy asks for one.
			Value: &corev3.RuntimeUInt32{DefaultValue: a.LeastStatus, RuntimeKey: "isoline.access_log.least_status"},
		}},
	}}
}

// format is nil where it is Envoy's own.
func (a *AccessLog) format() *corev3.SubstitutionFormatString {
	f := &corev3.SubstitutionFormatString{}
	formats := []string{a.Text}
	switch {
	case len(a.Fields) > 0:
		fields := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for name, format := range a.Fields {
			fields.Fields[name] = structpb.NewStringValue(format)
			formats = append(formats, format)
		}
		f.Format = &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields}
		f.OmitEmptyValues = true
	case a.Text != "":
		f.Format = &corev3.SubstitutionFormatString_TextFormatSource{
			TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{
				InlineString: strings.TrimSuffix(a.Text, "\n") + "\n",
			}},
		}
	default:
		return nil
	}
	if slices.ContainsFunc(formats, func(s string) bool { return strings.Contains(s, "%REQ_WITHOUT_QUERY(") }) {
		// The one operator that Envoy has to be given.
		f.Formatters = []*corev3.TypedExtensionConfig{{
			Name: "envoy.formatter.req_without_query", TypedConfig: mustAny(&withoutqueryv3.ReqWithoutQuery{}),
		}}
	}
	return f
}

// sourceMetadata names the object that a route comes from, where Contour's
// access logs look for it: %METADATA(ROUTE:envoy.access_loggers.file:io.projectcontour.name)%.
const sourceMetadata = "envoy.access_loggers.file"

// setSource makes the object that a route comes from known to the access log.
func setSource(r *routev3.Route, owner manifest.Key) {
	source := &structpb.Struct{Fields: map[string]*structpb.Value{
		"io.projectcontour.kind":      structpb.NewStringValue(owner.Kind),
		"io.projectcontour.namespace": structpb.NewStringValue(owner.Namespace),
		"io.projectcontour.name":      structpb.NewStringValue(owner.Name),
	}}
	if r.Metadata == nil {
		r.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	}
	r.Metadata.FilterMetadata[sourceMetadata] = source
}
