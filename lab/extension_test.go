package lab

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func dialed(t *testing.T, port int) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(fmt.Sprint("passthrough:///127.0.0.1:", port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAnAuthorizerDoesAsItIsToldByTheRequestOrBefore(t *testing.T) {
	s, err := StartAuthorizer(t.Context(), "auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := authv3.NewAuthorizationClient(dialed(t, s.Port()))
	check := func(headers map[string]string) (int, error) {
		out, err := client.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{"team": "a"},
			Request:           &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Path: "/x", Headers: headers}}}})
		if err != nil {
			return 0, err
		}
		if out.GetOkResponse() != nil {
			return 200, nil
		}
		return int(out.GetDeniedResponse().GetStatus().GetCode()), nil
	}
	for _, tt := range []struct {
		usually string
		headers map[string]string
		want    int
	}{
		{"deny", nil, 403}, {"deny", map[string]string{"x-auth": "allow"}, 200}, {"allow", nil, 200}, {"allow", map[string]string{"x-auth": "401"}, 401},
	} {
		s.Set(tt.usually)
		if got, err := check(tt.headers); got != tt.want || err != nil {
			t.Errorf("%s, %v: %d, %v, want %d", tt.usually, tt.headers, got, err, tt.want)
		}
	}
	if _, err := check(map[string]string{"x-auth": "error"}); err == nil {
		t.Error("told to fail, it does not")
	}
	if last := s.Records()[len(s.Records())-1]; last["path"][0] != "/x" || last["context team"][0] != "a" || last["header x-auth"][0] != "error" {
		t.Errorf("it saw %v", last)
	}
}

func TestALimiterCountsEachDescriptor(t *testing.T) {
	s, err := StartLimiter(t.Context(), "limits", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.SetLimit(2)
	client := ratelimitv3.NewRateLimitServiceClient(dialed(t, s.Port()))
	var got []bool
	for _, value := range []string{"a", "a", "b", "a", "b", "b"} {
		out, err := client.ShouldRateLimit(t.Context(), &ratelimitv3.RateLimitRequest{Domain: "d", Descriptors: []*commonv3.RateLimitDescriptor{
			{Entries: []*commonv3.RateLimitDescriptor_Entry{{Key: "k", Value: value}, {Key: "l", Value: "m"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, out.OverallCode == ratelimitv3.RateLimitResponse_OK)
	}
	if want := []bool{true, true, true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("let through: %v, want %v", got, want)
	}
	if first := s.Records()[0]; first["descriptor"][0] != "k=a,l=m" || first["domain"][0] != "d" {
		t.Errorf("it saw %v", first)
	}
}

func TestAnIssuersTokensAreOfTheKeyThatItServes(t *testing.T) {
	s, err := StartIssuer(t.Context(), "keys", nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.Token(map[string]any{"sub": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if !verified(t, s, old) {
		t.Error("its token is not of its key")
	}
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	if verified(t, s, old) {
		t.Error("a token of the old key is of the new one")
	}
}

// verified reports whether a token is signed with a key that the issuer serves.
func verified(t *testing.T, s *Issuer, token string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/jwks.json", s.Port()), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	_, private := set.Keys[0].Key.(*ecdsa.PrivateKey)
	if private {
		t.Error("it serves its private key")
	}
	_, err = signed.Verify(set.Keys[0])
	return err == nil
}
