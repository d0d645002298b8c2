package repo

import (
	"cmp"
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"

	"isoline.dev/isoline/config"
)

// Validate says everything that is wrong with a repository's configuration.
// Each error is an *Error with ReasonInvalidConfig whose Doing is the field,
// such as "repo.url". No error repeats a URL or the content of a file.
func Validate(cfg config.Repo) []error {
	var errs []error
	add := func(field, format string, args ...any) { errs = append(errs, invalid(field, format, args...)) }
	loc, err := parseURL(cfg.URL)
	if err != nil {
		errs = append(errs, err)
	} else {
		validateAuth(loc.scheme, cfg.Auth, add)
	}
	validateRef(cfg.Ref, add)
	for field, dir := range map[string]string{"repo.path": cfg.Path, "repo.build": cfg.Build} {
		if path.IsAbs(dir) || path.Clean(dir) == ".." || strings.HasPrefix(path.Clean(dir), "../") {
			add(field, "must stay inside the repository")
		}
	}
	return errs
}

// ValidateURL says what is wrong with a repository's URL: only https, ssh (or
// user@host:path) and http are possible, and no URL may hold a password.
func ValidateURL(text string) error {
	_, err := parseURL(text)
	return err
}

func validateAuth(scheme string, a config.Auth, add func(field, format string, args ...any)) {
	fields := []struct{ name, value, scheme string }{
		{"username", a.Username, "https"}, {"passwordFile", a.PasswordFile, "https"},
		{"tokenFile", a.TokenFile, "https"}, {"caFile", a.CAFile, "https"},
		{"certFile", a.CertFile, "https"}, {"keyFile", a.KeyFile, "https"},
		{"identityFile", a.IdentityFile, "ssh"}, {"passphraseFile", a.PassphraseFile, "ssh"},
		{"knownHostsFile", a.KnownHostsFile, "ssh"},
	}
	for _, f := range fields {
		if f.value != "" && f.scheme != scheme {
			add("repo.auth."+f.name, "is for %s, and repo.url is %s", f.scheme, scheme)
		}
	}
	switch scheme {
	case "https":
		if (a.Username == "") != (a.PasswordFile == "") {
			add("repo.auth", "username and passwordFile go together")
		}
		if a.TokenFile != "" && a.Username != "" {
			add("repo.auth", "is either username and passwordFile, or tokenFile")
		}
		if (a.CertFile == "") != (a.KeyFile == "") {
			add("repo.auth", "certFile and keyFile go together")
		}
	case "ssh":
		if a.IdentityFile == "" {
			add("repo.auth.identityFile", "is required for ssh")
		}
		if a.KnownHostsFile == "" {
			add("repo.auth.knownHostsFile", "is required for ssh: the server's key is always checked")
		}
	}
}

func validateRef(ref config.Ref, add func(field, format string, args ...any)) {
	set := 0
	for _, s := range []string{ref.Branch, ref.Tag, ref.Semver, ref.Name, ref.Commit} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		add("repo.ref", "sets more than one of branch, tag, semver, name and commit")
		return
	}
	valid := func(field, name string) {
		if plumbing.ReferenceName(name).Validate() != nil {
			add(field, "is not a name that git allows")
		}
	}
	switch {
	case ref.Branch != "":
		valid("repo.ref.branch", "refs/heads/"+ref.Branch)
	case ref.Tag != "":
		valid("repo.ref.tag", "refs/tags/"+ref.Tag)
	case ref.Semver != "":
		if _, err := semver.NewConstraint(ref.Semver); err != nil {
			add("repo.ref.semver", "%q is not a range such as \">=1.2.0 <2\"", ref.Semver)
		}
	case ref.Name != "":
		if !strings.HasPrefix(ref.Name, "refs/") {
			add("repo.ref.name", "must be a full name that starts with refs/")
		}
		valid("repo.ref.name", ref.Name)
	case ref.Commit != "":
		if _, ok := parseCommit(ref.Commit); !ok {
			add("repo.ref.commit", "must be a full commit id of 40 lower-case hexadecimal digits")
		}
	}
}

// parseCommit takes a full commit id.
func parseCommit(s string) (plumbing.Hash, bool) {
	h := plumbing.NewHash(s)
	return h, len(s) == 40 && h.String() == s && !h.IsZero()
}

// location is where a repository is.
type location struct {
	scheme string // https, http or ssh
	user   string // for ssh
	host   string // host name or IP address, without brackets
	port   string // never empty
	path   string // as the server gets it
	// display is the normalised URL; it holds nothing secret.
	display string
}

func (l location) hostPort() string { return net.JoinHostPort(l.host, l.port) }

var (
	scpLike  = regexp.MustCompile(`^([A-Za-z0-9_.][A-Za-z0-9_.+-]*)@([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):([^:]*)$`)
	hostName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	userName = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.+-]*$`)
)

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

// parseURL takes apart a URL that we are willing to use.
func parseURL(text string) (location, error) {
	const field = "repo.url"
	bad := func(why string) (location, error) { return location{}, invalid(field, "%s", why) }
	if text == "" {
		return bad("is required")
	}
	if strings.HasPrefix(text, "-") || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return bad("starts with a dash, or has a space, a backslash or a control character")
	}
	if !strings.Contains(text, "://") {
		m := scpLike.FindStringSubmatch(text)
		if m == nil {
			return bad("is neither a URL such as https://host/path nor user@host:path")
		}
		host := strings.Trim(m[2], "[]")
		l := location{scheme: "ssh", user: m[1], host: strings.ToLower(host), port: "22", path: m[3],
			display: m[1] + "@" + strings.ToLower(m[2]) + ":" + m[3]}
		return l, checkPath(field, l.path)
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("is not a URL") // the parser's own words repeat it
	}
	l := location{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), path: u.Path}
	l.port = cmp.Or(u.Port(), defaultPorts[l.scheme])
	if defaultPorts[l.scheme] == "" {
		return bad("has a scheme that is none of https, ssh and http")
	}
	if err := checkUser(field, u, &l); err != nil {
		return location{}, err
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return bad("has a query or a fragment")
	}
	if !hostName.MatchString(l.host) && net.ParseIP(l.host) == nil {
		return bad("has no host, or one that is not a host name")
	}
	if n, err := strconv.Atoi(l.port); err != nil || n < 1 || n > 65535 {
		return bad("has a port that is not from 1 to 65535")
	}
	l.display = display(l, u)
	return l, checkPath(field, l.path)
}

func checkUser(field string, u *url.URL, l *location) error {
	if u.User == nil {
		if l.scheme == "ssh" {
			l.user = "git"
		}
		return nil
	}
	if _, has := u.User.Password(); has {
		return invalid(field, "holds a password; put it into a file that repo.auth names")
	}
	if l.scheme != "ssh" {
		return invalid(field, "holds a user; for https, use repo.auth.username and repo.auth.passwordFile")
	}
	if l.user = u.User.Username(); !userName.MatchString(l.user) {
		return invalid(field, "has a user name with characters that are not allowed")
	}
	return nil
}

func checkPath(field, p string) error {
	if p == "" || strings.Trim(p, "/") == "" {
		return invalid(field, "has no path to a repository")
	}
	if strings.HasPrefix(p, "-") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return invalid(field, "has a path that starts with a dash or holds control characters")
	}
	return nil
}

// display is the URL as origins show it: scheme and host in lower case, no
// default port, no slash at the end.
func display(l location, u *url.URL) string {
	d := url.URL{Scheme: l.scheme, Host: l.hostPort(), Path: strings.TrimRight(u.Path, "/")}
	if l.port == defaultPorts[l.scheme] {
		if d.Host = l.host; strings.Contains(l.host, ":") {
			d.Host = "[" + l.host + "]"
		}
	}
	if u.User != nil {
		d.User = url.User(l.user)
	}
	return d.String()
}

// root is the readable root, "" for the repository's.
func (r *Repository) root() string { return clean(r.cfg.Path) }

// build is the directory to build, relative to the repository's root.
func (r *Repository) build() string { return clean(path.Join(r.cfg.Path, r.cfg.Build)) }

func clean(dir string) string {
	if dir = path.Clean(dir); dir == "." {
		return ""
	}
	return dir
}
