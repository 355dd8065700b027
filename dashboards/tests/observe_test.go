package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// `make observe` against something that answers /metrics: both servers come up, scrape it, load the rules, show the
// runbooks, and end on Ctrl-C.
func TestObserve(t *testing.T) {
	t.Parallel()
	watched := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `onward_build_info{version="test",go="go"} 1`)
	}))
	t.Cleanup(watched.Close)
	prometheus, alertmanager := freePort(t), freePort(t)
	cmd := exec.Command(root+"/deploy/observe", "--data", t.TempDir(), "--prometheus", prometheus, "--alertmanager", alertmanager,
		strings.TrimPrefix(watched.URL, "http://"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that the signal reaches all, as Ctrl-C does
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	require.NoError(t, cmd.Start())
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
	}
	base := "http://127.0.0.1:" + prometheus
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health, ScrapePool string }
		}
	}
	require.Eventually(t, func() bool {
		return getJSON(base+"/api/v1/targets", &targets) && len(targets.Data.ActiveTargets) == 1 && targets.Data.ActiveTargets[0].Health == "up"
	}, time.Minute, 50*time.Millisecond, "the target is scraped: %s", &complaints)
	var loaded struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Type, Health string }
			}
		}
	}
	require.True(t, getJSON(base+"/api/v1/rules", &loaded))
	n := 0
	for _, g := range loaded.Data.Groups {
		n += len(g.Rules)
	}
	require.Len(t, rules(t), n)
	var told struct {
		Data struct{ ActiveAlertmanagers []struct{ URL string } }
	}
	require.Eventually(t, func() bool {
		return getJSON(base+"/api/v1/alertmanagers", &told) && len(told.Data.ActiveAlertmanagers) == 1
	}, time.Minute, 50*time.Millisecond, "Prometheus knows Alertmanager")
	require.Contains(t, told.Data.ActiveAlertmanagers[0].URL, alertmanager)
	for _, a := range alerts(t) {
		res, err := http.Get(base + "/user/" + page(a.Alert))
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 200, res.StatusCode)
		require.Contains(t, string(body), "# "+a.Alert)
	}

	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	_, _ = io.Copy(io.Discard, out)
	require.NoError(t, cmd.Wait(), "%s", &complaints)
	ended = true
	for _, port := range []string{prometheus, alertmanager} {
		_, err := net.Dial("tcp", "127.0.0.1:"+port)
		require.Error(t, err, "something still listens on %s", port)
	}
}

func TestObserve_wrongCall(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), root+"/deploy/observe", "--datas").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 2, exit.ExitCode())
	require.Equal(t, 1, strings.Count(string(out), "\n"), "%s", out)
}

// freePort finds a port that is free, below those that Linux gives to outgoing connections.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(12_768)) //nolint:gosec // a port is no secret
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func getJSON(url string, into any) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(into) == nil
}
