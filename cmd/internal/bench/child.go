package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// The roles of child processes. Each gets its settings as a line of JSON on stdin, answers with lines of JSON on stdout,
// takes commands as lines on stdin, and stops when stdin ends: with its parent, however that ends.
const (
	roleWeb    = "web"
	roleWorker = "worker"
	roleNoop   = "noop"
	roleRiver  = "river"
	roleLoad   = "load"
)

// stopPatience is longer than a stop of web or worker may take.
const stopPatience = 25 * time.Second

// child is a running child process, as its parent sees it.
type child struct {
	role   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *json.Decoder
	said   *tail
}

// start runs a role until stop, or until ctx ends. It returns once the child is ready, with what it said then.
func (b *bench) start(ctx context.Context, role string, settings, ready any) (*child, error) {
	args := append(append([]string(nil), b.opts.Child[1:]...), role)
	c := &child{role: role, cmd: exec.CommandContext(ctx, b.opts.Child[0], args...), said: &tail{}}
	c.cmd.Stderr = c.said
	c.cmd.WaitDelay = time.Second
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c.stdin, c.stdout = stdin, json.NewDecoder(stdout)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := json.NewEncoder(stdin).Encode(settings); err != nil {
		return nil, errors.Join(c.failed(err), c.stop())
	}
	if err := c.receive(ready); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// command sends a line.
func (c *child) command(line string) error {
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		return c.failed(err)
	}
	return nil
}

// receive reads the child's next line.
func (c *child) receive(v any) error {
	if err := c.stdout.Decode(v); err != nil {
		return c.failed(err)
	}
	return nil
}

// ask sends a command and reads its answer.
func (c *child) ask(line string, answer any) error {
	if err := c.command(line); err != nil {
		return err
	}
	return c.receive(answer)
}

func (c *child) failed(err error) error {
	// What it had to say is on its way when its stdout has ended.
	time.Sleep(50 * time.Millisecond)
	return fmt.Errorf("the %s process: %w%s", c.role, err, c.said.suffix())
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	_ = c.stdin.Close()
	timer := time.AfterFunc(stopPatience, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	// Wait would close the pipe before a late line was read; nobody reads any more.
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the %s process: %w%s", c.role, err, c.said.suffix())
	}
	return nil
}

// tail keeps the end of what a child writes on stderr.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailLength = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailLength; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) suffix() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.text))
	if text == "" {
		return ""
	}
	return "; it said last: " + text
}

// stopAll stops children at the end of a measurement.
func stopAll(err *error, children ...*child) {
	for _, c := range children {
		if c != nil {
			*err = errors.Join(*err, c.stop())
		}
	}
}
