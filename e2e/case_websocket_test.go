package e2e

import (
	"fmt"
	"strings"

	"github.com/coder/websocket"

	"isoline.dev/isoline/lab"
)

// methodWebsocket opens a websocket, sends the body as one message and takes
// the next message for the body of the answer.
const methodWebsocket = "WEBSOCKET"

func (c *caseClient) speak(w *caseWorld, e *exchange) reply {
	conn, resp, err := websocket.Dial(w.t.Context(), w.expand(e.url), &websocket.DialOptions{HTTPClient: c.http})
	if err != nil {
		if resp == nil {
			return reply{status: "refused", err: err}
		}
		return reply{status: fmt.Sprint(resp.StatusCode), by: resp.Header.Get(lab.NameHeader), err: err}
	}
	defer conn.CloseNow() //nolint:errcheck // it is closed either way
	r := reply{status: fmt.Sprint(resp.StatusCode), by: resp.Header.Get(lab.NameHeader), facts: lab.Record{}}
	if err := conn.Write(w.t.Context(), websocket.MessageText, []byte(w.expand(strings.Join(e.send, "\n")))); err != nil {
		return reply{status: "refused", err: err}
	}
	_, message, err := conn.Read(w.t.Context())
	if err != nil {
		return reply{status: "refused", err: err}
	}
	r.facts["body"] = []string{string(message)}
	return r
}
