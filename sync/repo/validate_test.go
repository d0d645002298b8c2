package repo

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"pgregory.net/rapid"

	"isoline.dev/isoline/config"
)

func TestURLsAreTakenApartAndNormalised(t *testing.T) {
	for text, want := range map[string]location{
		"https://Git.Example.com/a/b.git":       {"https", "", "git.example.com", "443", "/a/b.git", "https://git.example.com/a/b.git"},
		"https://git.example.com:443/a/":        {"https", "", "git.example.com", "443", "/a/", "https://git.example.com/a"},
		"https://git.example.com:8443/a":        {"https", "", "git.example.com", "8443", "/a", "https://git.example.com:8443/a"},
		"http://[::1]:8080/a":                   {"http", "", "::1", "8080", "/a", "http://[::1]:8080/a"},
		"https://[::1]/a":                       {"https", "", "::1", "443", "/a", "https://[::1]/a"},
		"HTTPS://git.example.com/a%20b":         {"https", "", "git.example.com", "443", "/a b", "https://git.example.com/a%20b"},
		"ssh://git.example.com/a":               {"ssh", "git", "git.example.com", "22", "/a", "ssh://git.example.com/a"},
		"ssh://ada@git.example.com:2222/~ada/a": {"ssh", "ada", "git.example.com", "2222", "/~ada/a", "ssh://ada@git.example.com:2222/~ada/a"},
		"git@Git.Example.com:team/a.git":        {"ssh", "git", "git.example.com", "22", "team/a.git", "git@git.example.com:team/a.git"},
		"git@[::1]:/srv/a.git":                  {"ssh", "git", "::1", "22", "/srv/a.git", "git@[::1]:/srv/a.git"},
	} {
		if got, err := parseURL(text); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestURLsThatCouldDoHarmAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "-oProxyCommand=sesame", "--upload-pack=sesame", "/srv/sesame.git", "./sesame", "sesame", "C:\\sesame",
		"file:///srv/sesame.git", "git://h/sesame", "ext::sh -c sesame", "ftp://h/sesame", "javascript:sesame",
		"https://ada:sesame@h/a", "https://sesame@h/a", "http://ada:sesame@h/a", "http://sesame@h/a", "ssh://ada:sesame@h/a",
		"https://h/a?token=sesame", "https://h/a#sesame", "https://h/a?", "https:///sesame", "https://h", "https://h/",
		"https://-sesame/a", "ssh://-oProxyCommand=sesame/a", "ssh://-sesame@h/a", "-sesame@h:a", "git@-sesame:a", "git@h:-sesame", "git@h:",
		"https://h:0/sesame", "https://h:99999/sesame", "https://h:x/sesame", "https://h/se same", "https://h/sesame\n", "https://h/a\x00sesame",
		"https://h%2fsesame/a", "https://h/%zz-sesame", "https://h/a%0asesame", "https://ho$t/sesame", "host:sesame", "git@h:a:sesame",
		"\thttps://h/sesame", "https:sesame", "ssh://git@h%40sesame/a",
	} {
		err := ValidateURL(text)
		if err == nil {
			t.Errorf("%q is taken", text)
			continue
		}
		if !errors.Is(err, &Error{Reason: ReasonInvalidConfig}) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: the error is %q", text, err)
		}
	}
}

func TestWhateverURLIsTakenShowsNoUserinfoOrQuery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`(https|ssh|http|file|git)://([a-z:@-]{0,6}@)?[a-z0-9.:\[\]-]{0,8}/?[a-z0-9/?#%@-]{0,8}`),
			rapid.StringMatching(`-?[a-z]{0,3}@?[a-z-]{0,4}:[a-z0-9/:-]{0,8}`)).Draw(t, "url")
		loc, err := parseURL(text)
		if err != nil {
			return
		}
		if loc.host == "" || strings.HasPrefix(loc.host, "-") || strings.HasPrefix(loc.user, "-") || strings.HasPrefix(loc.path, "-") ||
			loc.user != "" && loc.scheme != "ssh" || strings.ContainsAny(loc.display, "?#") || loc.port == "" {
			t.Fatalf("%q becomes %+v", text, loc)
		}
		again, err := parseURL(loc.display)
		if err != nil || again.display != loc.display || again.hostPort() != loc.hostPort() {
			t.Fatalf("%q, shown as %q, becomes %+v, %v", text, loc.display, again, err)
		}
	})
}

func TestAConfigurationThatContradictsItselfIsRefused(t *testing.T) {
	https, ssh, http := "https://h/a", "ssh://h/a", "http://h/a"
	key := config.Auth{IdentityFile: "i", KnownHostsFile: "k"}
	for name, test := range map[string]struct {
		cfg  config.Repo
		want string // the field of the one error; "" for none
	}{
		"https":                       {config.Repo{URL: https}, ""},
		"https with a password":       {config.Repo{URL: https, Auth: config.Auth{Username: "u", PasswordFile: "p", CAFile: "c"}}, ""},
		"https with a token":          {config.Repo{URL: https, Auth: config.Auth{TokenFile: "t", CertFile: "c", KeyFile: "k"}}, ""},
		"ssh":                         {config.Repo{URL: ssh, Auth: key}, ""},
		"ssh by scp":                  {config.Repo{URL: "git@h:a", Auth: key, Ref: config.Ref{Branch: "b/c"}}, ""},
		"user without password":       {config.Repo{URL: https, Auth: config.Auth{Username: "u"}}, "repo.auth"},
		"password without user":       {config.Repo{URL: https, Auth: config.Auth{PasswordFile: "u"}}, "repo.auth"},
		"password and token":          {config.Repo{URL: https, Auth: config.Auth{Username: "u", PasswordFile: "p", TokenFile: "t"}}, "repo.auth"},
		"certificate without key":     {config.Repo{URL: https, Auth: config.Auth{CertFile: "c"}}, "repo.auth"},
		"http with a token":           {config.Repo{URL: http, Auth: config.Auth{TokenFile: "t"}}, "repo.auth.tokenFile"},
		"http with a password":        {config.Repo{URL: http, Auth: config.Auth{PasswordFile: "t"}}, "repo.auth.passwordFile"},
		"https with a key":            {config.Repo{URL: https, Auth: config.Auth{IdentityFile: "t"}}, "repo.auth.identityFile"},
		"ssh with a token":            {config.Repo{URL: ssh, Auth: config.Auth{IdentityFile: "i", KnownHostsFile: "k", TokenFile: "t"}}, "repo.auth.tokenFile"},
		"ssh without known hosts":     {config.Repo{URL: ssh, Auth: config.Auth{IdentityFile: "i"}}, "repo.auth.knownHostsFile"},
		"ssh without a key":           {config.Repo{URL: ssh, Auth: config.Auth{KnownHostsFile: "i"}}, "repo.auth.identityFile"},
		"two refs":                    {config.Repo{URL: https, Ref: config.Ref{Branch: "a", Tag: "b"}}, "repo.ref"},
		"a branch that is no name":    {config.Repo{URL: https, Ref: config.Ref{Branch: "a..b"}}, "repo.ref.branch"},
		"a branch that is an option":  {config.Repo{URL: https, Ref: config.Ref{Branch: "--upload-pack"}}, "repo.ref.branch"},
		"a tag that is no name":       {config.Repo{URL: https, Ref: config.Ref{Tag: "a b"}}, "repo.ref.tag"},
		"a range that is none":        {config.Repo{URL: https, Ref: config.Ref{Semver: "newest"}}, "repo.ref.semver"},
		"a ref without refs/":         {config.Repo{URL: https, Ref: config.Ref{Name: "pull/1/head"}}, "repo.ref.name"},
		"a short commit":              {config.Repo{URL: https, Ref: config.Ref{Commit: "abc123"}}, "repo.ref.commit"},
		"a path that leaves":          {config.Repo{URL: https, Path: "a/../../b"}, "repo.path"},
		"a build that leaves by path": {config.Repo{URL: https, Path: "a", Build: "../b"}, "repo.build"},
		"an absolute path":            {config.Repo{URL: https, Path: "/etc"}, "repo.path"},
	} {
		errs := Validate(test.cfg)
		if test.want == "" {
			if len(errs) > 0 {
				t.Errorf("%s: %v", name, errs)
			}
			continue
		}
		e := (*Error)(nil)
		if len(errs) != 1 || !errors.As(errs[0], &e) || e.Doing != test.want {
			t.Errorf("%s: %v, want one error about %s", name, errs, test.want)
		}
		if _, err := Open(filepath.Join(t.TempDir(), "copy"), test.cfg, Options{}); ReasonOf(err) != ReasonInvalidConfig {
			t.Errorf("%s: Open says %v", name, err)
		}
	}
}

func TestTheHighestTagInTheRangeDoesNotDependOnOrder(t *testing.T) {
	hash := plumbing.NewHash(strings.Repeat("1", 40))
	for constraint, want := range map[string]string{
		">=1.0.0":       "refs/tags/v1.10.0",
		"~1.2":          "refs/tags/v1.2.9+b",
		"<1.0.0":        "",
		">=2.0.0-alpha": "refs/tags/2.0.0-beta",
		"1.0.0":         "refs/tags/v1.0.0",
	} {
		for range 20 {
			adv := packp.NewAdvRefs()
			for _, name := range []string{"v1.0.0", "1.0.0", "v1.2.3", "v1.2.9+a", "v1.2.9+b", "v1.10.0", "2.0.0-beta", "2.0.0-alpha", "release-9", "latest"} {
				adv.References["refs/tags/"+name] = hash
			}
			adv.References["refs/heads/v9.9.9"] = hash
			if got := highestTag(adv, constraint); got != want {
				t.Fatalf("%s takes %q, want %q", constraint, got, want)
			}
		}
	}
}
