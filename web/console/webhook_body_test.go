package console

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestViewBody(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	for name, c := range map[string]struct {
		body, kind string
		want       bodyView
	}{
		"none":          {"", form, bodyView{Kind: "empty"}},
		"a form":        {"From=%2B1555&Body=Yes%21+Sí&x", form, bodyView{Kind: "form", Pairs: []pair{{"From", "+1555"}, {"Body", "Yes! Sí"}, {"x", ""}}, Text: "From=%2B1555&Body=Yes%21+Sí&x"}},
		"a broken form": {"a=%zz&b=%ff", form, bodyView{Kind: "form", Pairs: []pair{{"a", "%zz"}, {"b", "%ff"}}, Text: "a=%zz&b=%ff"}},
		"JSON":          {`{"b":1,"a":[2]}`, "", bodyView{Kind: "json", Text: "{\n  \"b\": 1,\n  \"a\": [\n    2\n  ]\n}"}},
		"broken JSON":   {`{"b":`, "application/json", bodyView{Kind: "text", Text: `{"b":`}},
		"a text":        {"a=b", "text/plain", bodyView{Kind: "text", Text: "a=b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.Raw, c.want.Size = c.body, len(c.body)
			require.Equal(t, c.want, viewBody([]byte(c.body), c.kind))
		})
	}
	binary := viewBody([]byte("\xff\x00"), form)
	require.Equal(t, "binary", binary.Kind)
	require.Equal(t, "ff00", binary.Raw)
	long := viewBody([]byte(strings.Repeat("é", shownBody)), "")
	require.True(t, long.Cut)
	require.LessOrEqual(t, len(long.Text), shownBody)
	require.True(t, utf8.ValidString(long.Text))
}

func FuzzViewBody(f *testing.F) {
	f.Add([]byte("a=b&c=%41"), "application/x-www-form-urlencoded")
	f.Add([]byte(`{"a":[1,2]}`), "application/json")
	f.Add([]byte("\xff\x00"), ";")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		b := viewBody(body, kind)
		require.Equal(t, len(body), b.Size)
		require.True(t, utf8.ValidString(b.Text))
		require.True(t, utf8.ValidString(b.Raw))
		for _, p := range b.Pairs {
			require.True(t, utf8.ValidString(p.Name+p.Value))
		}
	})
}
