package repo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

var errTimeout = errors.New("repo.timeout has passed")

// explain turns whatever a fetch failed with into an *Error. Only causes that
// are known to hold nothing secret are kept; URLs and the bodies of answers
// are left out, and our own redacted URL stands for the repository.
func (r *Repository) explain(ctx context.Context, doing string, err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		if e.Repository == "" {
			e.Repository = r.url.display
		}
		return e
	}
	if ctx.Err() != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			return r.fail(ReasonTimeout, context.DeadlineExceeded, doing, fmt.Sprintf("it took longer than %s", r.timeout))
		}
		return r.fail(ReasonCanceled, ctx.Err(), doing, "")
	}
	if e := r.local(doing, err); e != nil {
		return e
	}
	return r.remote(doing, unwrapped(err))
}

// local explains errors that come from this side.
func (r *Repository) local(doing string, err error) *Error {
	pack := (*packError)(nil)
	credentials := (*credentialsError)(nil)
	disk := (*storageError)(nil)
	switch {
	case errors.As(err, &pack) && pack.limit:
		return r.fail(ReasonLimitExceeded, pack.err, doing, "")
	case errors.As(err, &pack):
		return r.fail(ReasonInvalidPack, pack.err, doing, "")
	case errors.As(err, &credentials):
		return r.fail(ReasonCredentials, credentials, doing, "")
	case errors.As(err, &disk):
		return r.fail(ReasonStorage, disk.err, doing, "")
	default:
		return nil
	}
}

// remote explains errors that come from the other side.
func (r *Repository) remote(doing string, err error) *Error {
	var (
		hostKey  *hostKeyError
		auth     *authError
		notFound *notFoundError
		redirect *redirectError
		cert     *tls.CertificateVerificationError
		alert    *net.OpError
		status   *githttp.Err
		line     *pktline.ErrorLine
		network  net.Error
	)
	switch {
	case errors.As(err, &hostKey):
		return r.fail(ReasonHostKey, hostKey, doing, "")
	case errors.As(err, &auth):
		return r.fail(ReasonAuthenticationFailed, auth, doing, "")
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return r.fail(ReasonAuthenticationFailed, transport.ErrAuthenticationRequired, doing, "the server answers 401")
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return r.fail(ReasonAuthenticationFailed, transport.ErrAuthorizationFailed, doing, "the server answers 403")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return r.fail(ReasonRepositoryNotFound, transport.ErrRepositoryNotFound, doing, "the server answers 404")
	case errors.As(err, &notFound):
		return r.fail(ReasonRepositoryNotFound, notFound, doing, "")
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return r.fail(ReasonEmptyRepository, transport.ErrEmptyRemoteRepository, doing, "")
	case errors.As(err, &redirect):
		return r.fail(ReasonRedirect, redirect, doing, "")
	case errors.As(err, &cert):
		return r.fail(ReasonCertificate, cert, doing, "")
	case errors.As(err, &alert) && alert.Op == "remote error": // how crypto/tls marks the other side's alerts
		return r.fail(ReasonAuthenticationFailed, alert, doing, "the server ends the TLS connection")
	case errors.As(err, &status):
		return r.fail(ReasonServer, nil, doing, fmt.Sprintf("the server answers %d", status.StatusCode()))
	case errors.As(err, &line):
		return r.fail(ReasonServer, nil, doing, "the server says: "+printable(line.Text, 200))
	case errors.As(err, &network):
		return r.fail(ReasonUnreachable, err, doing, "")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return r.fail(ReasonUnreachable, err, doing, "the server ends the connection")
	default:
		// An answer that is no git may be in the text, so the text is kept short.
		return r.fail(ReasonServer, nil, doing, printable(err.Error(), 200))
	}
}

// unwrapped takes off the layers that carry a URL, or hide what they hold.
func unwrapped(err error) error {
	for {
		var (
			request    *url.Error
			unexpected *plumbing.UnexpectedError
			permanent  *plumbing.PermanentError
		)
		switch {
		case errors.As(err, &request):
			err = request.Err
		case errors.As(err, &unexpected):
			err = unexpected.Err
		case errors.As(err, &permanent):
			err = permanent.Err
		default:
			return err
		}
	}
}
