package repo

import (
	"fmt"
	"io"
	"sync"
)

// meter bounds the bytes that are read from a server. It remembers that the
// bound was met, because not all errors come back whole from go-git.
type meter struct {
	mu   sync.Mutex
	most int64
	left int64
	over bool
}

// allow lets so many bytes be read from now on.
func (m *meter) allow(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most, m.left = n, n
}

// instead is the error that the bound was met, if it was; otherwise err.
func (m *meter) instead(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return packLimit("the server sends more than %d bytes", m.most)
	}
	return err
}

func (m *meter) take(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left -= int64(n); m.left < 0 {
		m.over = true
		return fmt.Errorf("more than %d bytes", m.most)
	}
	return nil
}

// reader counts what is read from r.
func (m *meter) reader(r io.Reader) io.Reader { return metered{m, r} }

type metered struct {
	meter *meter
	r     io.Reader
}

func (r metered) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if over := r.meter.take(n); over != nil {
		return 0, over
	}
	return n, err
}
