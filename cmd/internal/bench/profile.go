package bench

import "path/filepath"

// profile starts a CPU profile of a web or worker process, if profiles are wanted.
func (b *bench) profile(c *child, name string) error {
	if b.opts.ProfileDir == "" {
		return nil
	}
	path, err := filepath.Abs(filepath.Join(b.opts.ProfileDir, name+".pprof"))
	if err != nil {
		return err
	}
	return c.command("profile " + path)
}

// profiled ends the profile and waits until it is written.
func (b *bench) profiled(c *child) error {
	if b.opts.ProfileDir == "" {
		return nil
	}
	var written bool
	return c.ask("profiled", &written)
}
