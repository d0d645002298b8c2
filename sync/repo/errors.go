package repo

import (
	"errors"
	"fmt"
	"strings"

	"isoline.dev/isoline/problem"
)

// ProblemType is the type of every problem about a source.
const ProblemType = "SourceError"

// The reasons of errors and problems. They are stable.
const (
	ReasonInvalidConfig        = "InvalidConfig"        // the configuration of the repository
	ReasonCredentials          = "CredentialsUnusable"  // a credential file cannot be read or understood
	ReasonBranchNotFound       = "BranchNotFound"       //
	ReasonTagNotFound          = "TagNotFound"          //
	ReasonNoMatchingTag        = "NoMatchingTag"        // no tag is in the semver range
	ReasonRefNotFound          = "RefNotFound"          //
	ReasonCommitNotFound       = "CommitNotFound"       //
	ReasonNotACommit           = "NotACommit"           // the ref points to something else
	ReasonEmptyRepository      = "EmptyRepository"      // it has no ref at all
	ReasonRepositoryNotFound   = "RepositoryNotFound"   // or it is hidden from these credentials
	ReasonAuthenticationFailed = "AuthenticationFailed" //
	ReasonHostKey              = "HostKeyRefused"       // the ssh server's key is not in known_hosts
	ReasonCertificate          = "CertificateRefused"   // the https server's certificate is not trusted
	ReasonRedirect             = "RedirectRefused"      // the server sends us elsewhere
	ReasonUnreachable          = "Unreachable"          //
	ReasonTimeout              = "Timeout"              // the fetch took longer than config.Repo.Timeout
	ReasonCanceled             = "Canceled"             // the caller's context ended
	ReasonServer               = "ServerError"          // the server answered with something else
	ReasonInvalidPack          = "InvalidPack"          // what the server sent is broken or incomplete
	ReasonLimitExceeded        = "LimitExceeded"        //
	ReasonPathNotFound         = "PathNotFound"         // path or build is not in the commit
	ReasonSymlink              = "SymlinkIgnored"       // a warning
	ReasonSubmodule            = "SubmoduleUnsupported" // a warning
	ReasonInvalidName          = "InvalidName"          // a warning: a file name that cannot be used
	ReasonAncestryUnknown      = "AncestryUnknown"      // a warning: Rewritten could not be told
	ReasonCorruptClone         = "CorruptClone"         // the local copy is broken
	ReasonRevisionGone         = "RevisionGone"         // the local copy no longer has the commit
	ReasonStorage              = "StorageFailed"        // the local disk
)

// Error says what could not be done with which repository, why, and what to
// do next. It never holds anything secret.
//
// errors.Is(err, &Error{Reason: ReasonBranchNotFound}) compares reasons; the
// cause, where there is one, unwraps.
type Error struct {
	Reason string
	// Repository is the redacted URL; Commit and Path say where in it, if known.
	Repository string
	Commit     string
	Path       string
	// Doing is what was being done, such as "fetch branch main".
	Doing string
	// Detail says what went wrong.
	Detail string
	// Remedy says what to do next; may be empty.
	Remedy string
	Err    error
}

// Error is "repository: doing: detail".
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Repository, e.Doing, e.Detail} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error with the same reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason
}

// ReasonOf is the reason of the *Error in err's chain; empty without one.
func ReasonOf(err error) string {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// Problem says err as a problem of severity error. The team is left to the
// caller. Errors of other packages get the reason "SourceError".
func Problem(err error) problem.Problem {
	p := problem.Problem{Severity: problem.Error, Type: ProblemType, Reason: ProblemType}
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		p.Message = err.Error()
		return p
	}
	p.Reason, p.Remedy = e.Reason, e.Remedy
	p.Origin = problem.Origin{Repository: e.Repository, Commit: e.Commit, Path: e.Path}
	short := *e
	short.Repository = "" // the origin says it
	p.Message = short.Error()
	return p
}

// fail makes an *Error; remedies that always go with a reason are filled in.
func (r *Repository) fail(reason string, err error, doing, detail string) *Error {
	return &Error{Reason: reason, Repository: r.url.display, Doing: doing, Detail: detail, Remedy: remedies[reason], Err: err}
}

func (r *Repository) failAt(commit, reason string, err error, doing, detail string) *Error {
	e := r.fail(reason, err, doing, detail)
	e.Commit = commit
	return e
}

var remedies = map[string]string{
	ReasonCredentials:          "check the file that repo.auth names, and that Isoline may read it",
	ReasonBranchNotFound:       "push the branch, or correct repo.ref.branch; what was served before stays",
	ReasonTagNotFound:          "push the tag, or correct repo.ref.tag; what was served before stays",
	ReasonNoMatchingTag:        "push a tag in the range, or correct repo.ref.semver; what was served before stays",
	ReasonRefNotFound:          "correct repo.ref.name; what was served before stays",
	ReasonCommitNotFound:       "correct repo.ref.commit, or push a branch or tag from which the commit can be reached",
	ReasonNotACommit:           "point the ref at a commit",
	ReasonEmptyRepository:      "push a first commit",
	ReasonRepositoryNotFound:   "correct repo.url, or give the credentials in repo.auth read access",
	ReasonAuthenticationFailed: "correct the credentials in repo.auth, or give them read access to the repository",
	ReasonHostKey:              "if the server's key is known to have changed, put the new one into repo.auth.knownHostsFile",
	ReasonCertificate:          "put the authority that signed the server's certificate into repo.auth.caFile",
	ReasonRedirect:             "if the repository has moved, put its new address into repo.url",
	ReasonUnreachable:          "Isoline tries again by itself; check that the server is up and can be reached from here",
	ReasonTimeout:              "Isoline tries again by itself; raise repo.timeout if the repository is large",
	ReasonServer:               "Isoline tries again by itself; look at the server's log",
	ReasonInvalidPack:          "Isoline tries again by itself; run git fsck in the repository on the server",
	ReasonLimitExceeded:        "make the repository or the directory smaller, or raise the limit",
	ReasonPathNotFound:         "correct repo.path or repo.build, or push the directory",
	ReasonStorage:              "check the state directory: its free space and its permissions",
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Reason: ReasonInvalidConfig, Doing: field, Detail: fmt.Sprintf(format, args...)}
}
