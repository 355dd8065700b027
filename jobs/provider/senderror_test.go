package provider_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
)

func TestSendErrorUnwraps(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("send: %w", &provider.SendError{Class: provider.ClassUnknown, Code: "broken", Err: io.ErrUnexpectedEOF})
	var sendErr *provider.SendError
	require.ErrorAs(t, err, &sendErr)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "unknown (broken): unexpected EOF", sendErr.Error())
}

func TestSendErrorText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "opted_out", (&provider.SendError{Class: provider.ClassOptedOut}).Error())
	require.Equal(t, "opted_out (21610)", (&provider.SendError{Class: provider.ClassOptedOut, Code: "21610"}).Error())
	require.Equal(t, "unknown: why", (&provider.SendError{Class: provider.ClassUnknown, Err: errors.New("why")}).Error())
}

func TestClassesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[provider.Class]bool{}
	for _, c := range provider.Classes() {
		require.False(t, seen[c], c)
		seen[c] = true
	}
	require.Len(t, seen, 7)
}
