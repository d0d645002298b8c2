//go:build !linux

package render

import "errors"

// confineFromInside has nothing to take here.
func confineFromInside() error { return errors.ErrUnsupported }
