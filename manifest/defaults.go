package manifest

import (
	"bytes"
	"encoding/json"
)

// An API server fills in what its schema has defaults for. Where a default
// cannot be told from what an author may write, once the object is decoded, it
// is filled in here. There is one: requestHeaderValueMatch.expectMatch of
// HTTPProxy, which is true unless it is set to false.
const matchEntry, matchDefault = "requestHeaderValueMatch", "expectMatch"

// withDefaults is j, one object in JSON that can be decoded, with the defaults;
// nil where there are none to fill in.
func withDefaults(kind string, j []byte) []byte {
	if kind != HTTPProxy || !bytes.Contains(j, []byte(matchEntry)) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(j))
	d.UseNumber()
	var object any
	if d.Decode(&object) != nil {
		return nil
	}
	setDefaults(object)
	filled, err := json.Marshal(object)
	if err != nil {
		return nil
	}
	return filled
}

func setDefaults(value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			setDefaults(item)
		}
	case map[string]any:
		for name, item := range v {
			if entry, ok := item.(map[string]any); ok && name == matchEntry {
				if _, set := entry[matchDefault]; !set {
					entry[matchDefault] = true
				}
			}
			setDefaults(item)
		}
	}
}
