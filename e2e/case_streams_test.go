package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	bigendian "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/lab"
)

// messages are what a stream sends, one for each line; one empty one where the
// block has none.
func (w *caseWorld) messages(e *exchange) []string {
	if len(e.send) == 0 {
		return []string{""}
	}
	var all []string
	for _, m := range e.send {
		all = append(all, w.expand(m))
	}
	return all
}

// callGRPC calls a method of lab.EchoService, or another that takes and
// returns messages of the same form. The reply's body has what came back, a
// line for each message.
func (w *caseWorld) callGRPC(ctx context.Context, e *exchange) (reply, error) {
	u, err := url.Parse(w.expand(e.url))
	if err != nil {
		return reply{}, err
	}
	conn, err := w.dialGRPC(e, u)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	md := metadata.MD{}
	for name, values := range w.headers(e) {
		md.Append(name, values...)
	}
	stream, err := conn.NewStream(metadata.NewOutgoingContext(ctx, md), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, u.Path)
	var got []string
	if err == nil {
		got, err = chat(stream, w.messages(e))
	}
	r := reply{facts: lab.Record{"body": {strings.Join(got, "\n")}}, status: code.Code_name[int32(status.Code(err))]}
	if stream != nil {
		header, _ := stream.Header()
		r.addMetadata("header ", header)
		r.addMetadata("trailer ", stream.Trailer())
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.facts["message"] = []string{status.Convert(err).Message()}
		return r, nil
	}
	r.status = "OK"
	return r, nil
}

// chat sends the messages and returns what came back, with the status.
func chat(stream grpc.ClientStream, messages []string) (got []string, err error) {
	for i, m := range messages {
		if err := stream.SendMsg(wrapperspb.String(m)); err != nil && !errors.Is(err, io.EOF) {
			return got, err
		}
		if i == len(messages)-1 {
			if err := stream.CloseSend(); err != nil {
				return got, err
			}
		}
		in := &wrapperspb.StringValue{}
		if err := stream.RecvMsg(in); err != nil {
			return got, err
		}
		got = append(got, in.Value)
	}
	return got, stream.RecvMsg(&wrapperspb.StringValue{})
}

func (r *reply) addMetadata(prefix string, md metadata.MD) {
	for name, values := range md {
		r.facts[prefix+name] = values
	}
	if by := md.Get(lab.NameHeader); len(by) > 0 {
		r.by = by[0]
	}
}

func (w *caseWorld) dialGRPC(e *exchange, u *url.URL) (*grpc.ClientConn, error) {
	creds, port := insecure.NewCredentials(), w.rig.http
	if u.Scheme == "https" {
		config, err := w.clientTLS(e)
		if err != nil {
			return nil, err
		}
		config.NextProtos = []string{"h2"}
		creds, port = credentials.NewTLS(config), w.rig.https
	}
	return grpc.NewClient("passthrough:///"+u.Host, grpc.WithTransportCredentials(creds), grpc.WithAuthority(u.Host),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return w.dial(ctx, port, e) }))
}

// callGRPCWeb calls as a browser does: one message over HTTP/1.1, with the
// trailers in the body.
func (w *caseWorld) callGRPCWeb(ctx context.Context, c *http.Client, e *exchange) (reply, error) {
	message, err := proto.Marshal(wrapperspb.String(w.messages(e)[0]))
	if err != nil {
		return reply{}, err
	}
	body := append(bigendian.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.expand(e.url), bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header = w.headers(e)
	req.Header.Set("Content-Type", "application/grpc-web+proto")
	req.Header.Set("X-Grpc-Web", "1")
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := bodyOf(resp)
	if err != nil {
		return reply{}, err
	}
	resp.Body = http.NoBody
	r, answer := replyOf(resp), []byte(text)
	r.facts["body"] = nil
	if r.status != "200" {
		return r, nil
	}
	status := resp.Header.Get("Grpc-Status")
	for len(answer) >= 5 {
		flags, size := answer[0], int(bigendian.BigEndian.Uint32(answer[1:5]))
		if len(answer) < 5+size {
			return r, fmt.Errorf("a frame of the answer is cut off")
		}
		frame := answer[5 : 5+size]
		answer = answer[5+size:]
		if flags&0x80 == 0 {
			in := &wrapperspb.StringValue{}
			if err := proto.Unmarshal(frame, in); err != nil {
				return r, err
			}
			r.facts["body"] = append(r.facts["body"], in.Value)
			continue
		}
		trailers, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(frame, "\r\n"...)))).ReadMIMEHeader()
		if err != nil {
			return r, fmt.Errorf("read the trailers: %w", err)
		}
		status = trailers.Get("Grpc-Status")
	}
	n, err := strconv.ParseInt(status, 10, 32)
	if err != nil {
		return r, fmt.Errorf("the answer has no status of gRPC: %w", err)
	}
	r.status = code.Code_name[int32(n)]
	return r, nil
}

// openWebsocket sends each message and takes one back for it.
func (w *caseWorld) openWebsocket(ctx context.Context, c *http.Client, e *exchange) (reply, error) {
	conn, resp, err := websocket.Dial(ctx, w.expand(e.url), &websocket.DialOptions{HTTPClient: c, HTTPHeader: w.headers(e)}) //nolint:bodyclose // what there is of the body is in memory
	if err != nil {
		if resp == nil {
			return reply{}, err
		}
		return replyOf(resp), nil
	}
	defer conn.CloseNow() //nolint:errcheck // it is closed either way
	r := replyOf(&http.Response{StatusCode: resp.StatusCode, Header: resp.Header, TLS: resp.TLS, Body: http.NoBody})
	var got []string
	for _, m := range e.send {
		if err := conn.Write(ctx, websocket.MessageText, []byte(w.expand(m))); err != nil {
			return r, err
		}
		_, message, err := conn.Read(ctx)
		if err != nil {
			return r, err
		}
		got = append(got, string(message))
	}
	r.facts["body"] = []string{strings.Join(got, "\n")}
	return r, nil
}

// connect opens a connection, on TLS for tls://, takes the greeting of a TCP
// server, and sends and takes back lines. Its status is "open".
func (w *caseWorld) connect(ctx context.Context, e *exchange) (reply, error) {
	u, err := url.Parse(w.expand(e.url))
	if err != nil {
		return reply{}, err
	}
	var conn net.Conn
	r := reply{status: "open", facts: lab.Record{}}
	switch u.Scheme {
	case "tls":
		config, err := w.clientTLS(e)
		if err != nil {
			return r, err
		}
		config.NextProtos = nil
		if conn, err = w.dialTLS(ctx, e, config); err != nil {
			return r, err
		}
		r.certificate = conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
	case "tcp":
		if conn, err = w.dial(ctx, w.rig.http, e); err != nil {
			return r, err
		}
	default:
		return r, fmt.Errorf("want tls:// or tcp://")
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	in := bufio.NewReader(conn)
	greeting, err := in.ReadString('\n')
	if err != nil {
		return r, err
	}
	r.by = strings.TrimSpace(greeting)
	var got []string
	for _, line := range e.send {
		if _, err := fmt.Fprintln(conn, w.expand(line)); err != nil {
			return r, err
		}
		back, err := in.ReadString('\n')
		if err != nil {
			return r, err
		}
		got = append(got, strings.TrimSpace(back))
	}
	r.facts["body"] = []string{strings.Join(got, "\n")}
	return r, nil
}
