package config

import (
	"fmt"
	"regexp"
	"strings"

	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
)

// Members are the fields of a line in JSON, each with its format. It is only
// for fields that were validated, or none, which is Contour's default.
func (a AccessLog) Members() map[string]string {
	fields := contourv1alpha1.AccessLogJSONFields(a.Fields)
	if len(fields) == 0 {
		fields = contourv1alpha1.DefaultAccessLogJSONFields
	}
	return fields.AsFieldMap()
}

// checkField says why a field cannot be logged, or "".
func checkField(field string) string {
	name, format, pair := strings.Cut(field, "=")
	if !pair {
		format = contourv1alpha1.AccessLogJSONFields{field}.AsFieldMap()[field]
	}
	switch {
	case name == "":
		return "a field needs a name"
	case format == "" && !pair:
		return fmt.Sprintf("%q is neither a field that Contour knows nor an operator without arguments; write %s=%%OPERATOR(...)%%", field, field)
	default:
		return checkFormat(format)
	}
}

// operator is an operator of Envoy's access log, at the start of the text.
var operator = regexp.MustCompile(`^%([A-Z0-9_]+)(?:\(([^()]+)\))?(?::([0-9]{1,4}))?%`)

// header is a request's or response's header name, perhaps of HTTP/2, and
// another to take in its place.
var header = regexp.MustCompile("^:?[A-Za-z0-9!#$&'*+.^_`|~-]+(\\?:?[A-Za-z0-9!#$&'*+.^_`|~-]+)?$")

// withArguments are the operators that take some, and which; a length may
// follow those with cut.
var withArguments = map[string]struct {
	arguments *regexp.Regexp
	cut       bool
}{
	"REQ":               {header, true},
	"REQ_WITHOUT_QUERY": {header, true},
	"RESP":              {header, true},
	"TRAILER":           {header, true},
	"ENVIRONMENT":       {regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), true},
	"START_TIME":        {regexp.MustCompile(`^(%([1-9]?f|[A-Za-eg-z%])|[ -$&'*-~])+$`), false},
	"METADATA":          {regexp.MustCompile(`^(DYNAMIC|CLUSTER|ROUTE|UPSTREAM_HOST|LISTENER):[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)*$`), true},
}

// checkFormat says why Envoy would not take a format, or "". Envoy refuses the
// whole listener for one operator that it does not know.
func checkFormat(text string) string {
	for {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			return ""
		}
		text = text[i:]
		m := operator.FindStringSubmatch(text)
		if m == nil {
			return fmt.Sprintf("%.40q does not start with an operator such as %%PROTOCOL%% or %%REQ(X-NAME):20%%", text)
		}
		if why := checkOperator(m[1], m[2], m[3]); why != "" {
			return why
		}
		text = text[len(m[0]):]
	}
}

func checkOperator(name, arguments, length string) string {
	with, takes := withArguments[name]
	switch {
	case !takes && !withoutArguments[name]:
		return fmt.Sprintf("%%%s%% is not an operator that can be logged", name)
	case arguments == "" && !withoutArguments[name]:
		return fmt.Sprintf("%%%s%% needs arguments", name)
	case arguments != "" && (!takes || !with.arguments.MatchString(arguments)):
		return fmt.Sprintf("%%%s%% does not take (%s)", name, arguments)
	case length != "" && !with.cut:
		return fmt.Sprintf("%%%s%% does not take a length", name)
	default:
		return ""
	}
}

// withoutArguments are the operators that stand alone.
var withoutArguments = setOf(`
	BYTES_RECEIVED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS
	DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT
	DOWNSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
	DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT
	DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN
	DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CERT_V_END DOWNSTREAM_PEER_CERT_V_START
	DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER
	DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN
	DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT
	DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION
	DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT
	DURATION FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME LOCAL_REPLY_BODY PROTOCOL
	REQUESTED_SERVER_NAME REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION
	RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
	RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION
	ROUTE_NAME START_TIME STREAM_ID
	UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT
	UPSTREAM_HOST UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_PORT
	UPSTREAM_PEER_CERT UPSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT
	UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
	UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_TLS_CIPHER UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION
	UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT
	VIRTUAL_CLUSTER_NAME`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}
