package repo

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/lab"
)

const sesame = "open-sesame"

func TestHTTPSTakesItsAuthorityAndPasswordFromFiles(t *testing.T) {
	r := newRig(t, lab.GitTLS(), lab.GitBasicAuth("ada", sesame))
	commit := r.push("1")
	ca, password := r.file("ca.pem", string(r.server.CA())), r.file("password", sesame+"\n")
	auth := config.Auth{CAFile: ca, Username: "ada", PasswordFile: password}
	repo := r.open(config.Repo{Auth: auth})
	r.fetch(repo, commit)

	r.file("password", "wrong-"+sesame)
	r.refuse(repo, ReasonAuthenticationFailed, sesame)
	r.file("password", sesame)
	r.fetch(repo, commit)

	r.must(os.Remove(password))
	e := r.refuse(repo, ReasonCredentials, sesame)
	if !strings.Contains(e.Error(), "repo.auth.passwordFile") {
		t.Errorf("%q does not name the field", e)
	}
	r.file("password", sesame)
	r.file("ca.pem", "no certificate, but "+sesame)
	r.refuse(repo, ReasonCredentials, sesame)
}

func TestHTTPSWithoutItsAuthorityIsRefused(t *testing.T) {
	r := newRig(t, lab.GitTLS(), lab.GitBasicAuth("ada", sesame))
	r.push("1")
	auth := config.Auth{Username: "ada", PasswordFile: r.file("password", sesame)}
	r.refuse(r.open(config.Repo{Auth: auth}), ReasonCertificate, sesame)
	other, err := lab.NewAuthority("another")
	r.must(err)
	auth.CAFile = r.file("other.pem", string(other.PEM))
	r.refuse(r.open(config.Repo{Auth: auth}), ReasonCertificate, sesame)
}

func TestHTTPSTakesABearerToken(t *testing.T) {
	const want = "Bearer " + sesame
	var closed atomic.Bool
	r := newRig(t, lab.GitTLS(), lab.GitMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if closed.Load() && req.Header.Get("Authorization") != want {
				// What some proxies do: show what they were sent.
				http.Error(w, "no: "+req.Header.Get("Authorization"), http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	}))
	commit := r.push("1")
	closed.Store(true)
	repo := r.open(config.Repo{Auth: config.Auth{CAFile: r.file("ca.pem", string(r.server.CA())), TokenFile: r.file("token", sesame+"\n")}})
	r.fetch(repo, commit)
	r.file("token", "old-"+sesame)
	r.refuse(repo, ReasonAuthenticationFailed, sesame)
}

func TestHTTPSShowsItsClientCertificate(t *testing.T) {
	authority, err := lab.NewAuthority("clients")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, lab.GitTLS(), lab.GitClientCA(authority.PEM))
	cert, key, err := authority.Client("isoline")
	r.must(err)
	stranger, err := lab.NewAuthority("strangers")
	r.must(err)
	badCert, badKey, err := stranger.Client("isoline")
	r.must(err)
	ca := r.file("ca.pem", string(r.server.CA()))
	commit := r.push("1")
	auth := config.Auth{CAFile: ca, CertFile: r.file("cert", string(cert)), KeyFile: r.file("key", string(key))}
	repo := r.open(config.Repo{Auth: auth})
	r.fetch(repo, commit)
	r.file("cert", string(badCert))
	r.refuse(repo, ReasonCredentials) // not the key of this certificate
	r.file("key", string(badKey))
	r.refuse(repo, ReasonAuthenticationFailed)
	r.refuse(r.open(config.Repo{Auth: config.Auth{CAFile: ca}}), ReasonAuthenticationFailed)
}

// sshRig serves the rig's repository over ssh too.
func sshRig(t *testing.T, passphrase string) (r *rig, server *lab.GitSSH, cfg config.Repo) {
	t.Helper()
	r = newRig(t)
	private, public, err := lab.NewSSHKey(passphrase)
	r.must(err)
	server, err = lab.StartGitSSH(t.Context(), r.dir+"/server", public)
	r.must(err)
	t.Cleanup(server.Close)
	cfg = config.Repo{URL: server.URL("team"), Auth: config.Auth{
		IdentityFile: r.file("identity", string(private)), KnownHostsFile: r.file("known_hosts", server.KnownHosts())}}
	if passphrase != "" {
		cfg.Auth.PassphraseFile = r.file("passphrase", passphrase+"\n")
	}
	return r, server, cfg
}

func TestSSHFetchesWithAKeyAndAKnownHost(t *testing.T) {
	r, _, cfg := sshRig(t, "")
	repo := r.open(cfg)
	r.refuse(repo, ReasonEmptyRepository)
	r.fetch(repo, r.push("1"))
	r.push("2")
	rev := r.fetch(repo, r.push("3"))
	if rev.Rewritten || r.content(rev) != "3" {
		t.Errorf("got %+v", rev)
	}
	r.git("reset", "--quiet", "--hard", "HEAD~2")
	rev = r.fetch(repo, r.push("4", "--force", "origin", "HEAD"))
	if !rev.Rewritten {
		t.Error("a force-push is not seen over ssh")
	}
}

func TestSSHOpensAnEncryptedKey(t *testing.T) {
	r, _, cfg := sshRig(t, sesame)
	repo := r.open(cfg)
	r.fetch(repo, r.push("1"))
	r.file("passphrase", "wrong-"+sesame)
	r.refuse(repo, ReasonCredentials, sesame)
	cfg.Auth.PassphraseFile = ""
	e := r.refuse(r.open(cfg), ReasonCredentials)
	if !strings.Contains(e.Error(), "passphraseFile") {
		t.Errorf("%q does not say what is missing", e)
	}
}

func TestSSHChecksTheHostKey(t *testing.T) {
	r, server, cfg := sshRig(t, "")
	r.push("1")
	_, other, err := lab.NewSSHKey("")
	r.must(err)
	address := strings.TrimPrefix(server.URL(""), "ssh://git@")
	address = address[:strings.Index(address, "/")]
	repo := r.open(cfg)
	r.file("known_hosts", knownLine(address, other))
	r.refuse(repo, ReasonHostKey)
	r.file("known_hosts", knownLine("git.example.com:22", other))
	r.refuse(repo, ReasonHostKey)
	r.file("known_hosts", "not a known_hosts file "+sesame)
	r.refuse(repo, ReasonCredentials, sesame)
}

func TestSSHWithAnotherKeyIsRefused(t *testing.T) {
	r, _, cfg := sshRig(t, "")
	r.push("1")
	private, _, err := lab.NewSSHKey("")
	r.must(err)
	r.file("identity", string(private))
	r.refuse(r.open(cfg), ReasonAuthenticationFailed, string(private))
}

func TestSSHNamesARepositoryThatIsNotThere(t *testing.T) {
	r, server, cfg := sshRig(t, "")
	cfg.URL = server.URL("other")
	r.refuse(r.open(cfg), ReasonRepositoryNotFound)
}

func TestSSHFindsACommitThatNoRefPointsTo(t *testing.T) {
	// git over ssh sends no commit that is not advertised, so that this takes
	// the way through a full download.
	r, _, cfg := sshRig(t, "")
	first := r.push("1")
	r.push("2")
	cfg.Ref.Commit = first
	repo := r.open(cfg)
	rev := r.fetch(repo, first)
	if r.content(rev) != "1" {
		t.Errorf("read %q", r.content(rev))
	}
}

func knownLine(address string, key ssh.PublicKey) string {
	return knownhosts.Line([]string{knownhosts.Normalize(address)}, key) + "\n"
}

func TestARedirectToAnotherHostIsRefusedBeforeItIsFollowed(t *testing.T) {
	var asked atomic.Bool
	thief := newRig(t, lab.GitMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/stolen") {
				asked.Store(true)
			}
			next.ServeHTTP(w, req)
		})
	}))
	var to atomic.Pointer[url.URL]
	r := newRig(t, lab.GitMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if path, ok := strings.CutPrefix(req.URL.Path, "/moved"); ok {
				http.Redirect(w, req, to.Load().String()+path+"?"+req.URL.RawQuery+"&token="+sesame, http.StatusFound)
				return
			}
			next.ServeHTTP(w, req)
		})
	}))
	commit := r.push("1")
	moved := config.Repo{URL: "http://" + r.server.Address() + "/moved/team.git"}
	to.Store(&url.URL{Scheme: "http", Host: thief.server.Address(), Path: "/stolen"})
	r.refuse(r.open(moved), ReasonRedirect, sesame)
	if asked.Load() {
		t.Error("the other host was asked")
	}
	to.Store(&url.URL{Scheme: "http", Host: r.server.Address()})
	r.fetch(r.open(moved), commit)
}
