package render

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	RunIfChild()
	misbehaveIfAsked()
	goleak.VerifyTestMain(m)
}

// enough ends a test that would otherwise hang.
const enough = 2 * time.Minute

// rendered is a render that has to end, in one way or another.
func rendered(t testing.TB, src Source) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	result, err := New().Render(ctx, src)
	if err != nil {
		t.Fatal(err)
	}
	if result.Diagnostic != "" {
		t.Logf("diagnostic: %s", result.Diagnostic)
	}
	return result
}

// text is a file map of texts.
func text(files map[string]string) map[string]File {
	out := make(map[string]File, len(files))
	for name, content := range files {
		out[name] = File{Content: []byte(content)}
	}
	return out
}

// reasons are those of the result's problems, in their order.
func reasons(result Result) []string {
	var out []string
	for _, p := range result.Problems {
		out = append(out, p.Reason)
	}
	return out
}

func misbehaveIfAsked() {
	if len(os.Args) == 2 && os.Getenv(childEnv) != "" {
		misbehave(os.Args[1])
	}
}
