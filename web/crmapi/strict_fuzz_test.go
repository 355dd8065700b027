package crmapi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The strict reader says nothing of what is no JSON, and lets nothing through that it is there to find.
func FuzzReadStrictly(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `{"A":1}`, `[{"a":["\u0000"]}]`, `{"a":{"b":[]},"c":[{}]}`, `{"a":1`, `"x"`, ``, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		found := readStrictly(body)
		var value any
		if json.Unmarshal(body, &value) != nil {
			require.Nil(t, found)
			return
		}
		if found == nil {
			require.False(t, loose(value), "%s", body)
		} else {
			require.NotEmpty(t, found.message)
		}
	})
}

// loose reports whether a value has a zero byte, or a member that is none of ours by the way it is written.
func loose(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, "\x00")
	case []any:
		return slices.ContainsFunc(v, loose)
	case map[string]any:
		for name, member := range v {
			if !isMember(name) || loose(member) {
				return true
			}
		}
	}
	return false
}
