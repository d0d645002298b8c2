package repo

import (
	"cmp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"isoline.dev/isoline/config"
)

// target is what the configured ref is on the server right now.
type target struct {
	// name is for people: "branch main", "tag v1.2.3".
	name string
	// object is what the ref points to and what is asked of the server;
	// commit is the same, or what an annotated tag is peeled to.
	object, commit plumbing.Hash
	// unadvertised: the commit was configured by its id and no ref points to
	// it, so that the server may refuse to send it by itself.
	unadvertised bool
}

// refName says which ref is configured.
func (r *Repository) refName() string { return nameOf(r.cfg.Ref) }

func nameOf(ref config.Ref) string {
	switch {
	case ref.Tag != "":
		return "tag " + ref.Tag
	case ref.Semver != "":
		return "semver " + ref.Semver
	case ref.Name != "":
		return ref.Name
	case ref.Commit != "":
		return "commit " + ref.Commit[:min(12, len(ref.Commit))]
	default:
		return "branch " + cmp.Or(ref.Branch, "main")
	}
}

// resolve finds the configured ref in what the server advertises. The reason
// is empty when it is there; otherwise detail may say more.
func resolve(adv *packp.AdvRefs, ref config.Ref) (t target, reason, detail string) {
	named := func(full, reason string) (target, string, string) {
		object, ok := adv.References[full]
		if !ok {
			return target{}, reason, "the server does not have it"
		}
		return target{name: nameOf(ref), object: object, commit: peeled(adv, full)}, "", ""
	}
	switch {
	case ref.Tag != "":
		return named("refs/tags/"+ref.Tag, ReasonTagNotFound)
	case ref.Semver != "":
		full := highestTag(adv, ref.Semver)
		if full == "" {
			return target{}, ReasonNoMatchingTag, "no tag on the server is a version in this range"
		}
		t, reason, detail = named(full, ReasonTagNotFound)
		t.name = "tag " + strings.TrimPrefix(full, "refs/tags/")
		return t, reason, detail
	case ref.Name != "":
		return named(ref.Name, ReasonRefNotFound)
	case ref.Commit != "":
		hash, _ := parseCommit(ref.Commit)
		return target{name: nameOf(ref), object: hash, commit: hash, unadvertised: !advertised(adv, hash)}, "", ""
	default:
		return named("refs/heads/"+cmp.Or(ref.Branch, "main"), ReasonBranchNotFound)
	}
}

// peeled is the object that a ref leads to once annotated tags are followed.
func peeled(adv *packp.AdvRefs, full string) plumbing.Hash {
	if h, ok := adv.Peeled[full]; ok {
		return h
	}
	return adv.References[full]
}

func advertised(adv *packp.AdvRefs, hash plumbing.Hash) bool {
	for _, h := range adv.References {
		if h == hash {
			return true
		}
	}
	return false
}

// highestTag is the full name of the tag with the highest version in the
// range; "" if there is none. Tags that are no versions do not count.
// Pre-releases count only where the range names one, as the semver library
// has it. Of two tags with versions that compare equal ("v1.0.0" and "1.0.0",
// or build metadata), the name that is later in the alphabet is taken, so
// that the choice does not depend on map order.
func highestTag(adv *packp.AdvRefs, constraint string) string {
	within, err := semver.NewConstraint(constraint)
	if err != nil {
		return ""
	}
	var best *semver.Version
	bestName := ""
	for full := range adv.References {
		tag, ok := strings.CutPrefix(full, "refs/tags/")
		if !ok {
			continue
		}
		v, err := semver.NewVersion(tag)
		if err != nil || !within.Check(v) {
			continue
		}
		if best == nil || v.GreaterThan(best) || v.Equal(best) && full > bestName {
			best, bestName = v, full
		}
	}
	return bestName
}
