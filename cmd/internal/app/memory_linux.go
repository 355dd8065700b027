package app

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// GiveBackStartup drops the pages of the program that are in memory, code and constants, once it has started: a third of
// them, 10 MiB, is what only the start needs (parsing templates, describing the API). They belong to the file, and the
// kernel maps again what is still used, from its cache.
func GiveBackStartup() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read what is mapped: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		// 00400000-01283000 r-xp 00000000 fe:00 1234    /usr/local/bin/onward
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 6 || bytes.ContainsRune(fields[1], 'w') || !bytes.HasSuffix(lines.Bytes(), []byte(" "+program)) {
			continue
		}
		from, to, _ := bytes.Cut(fields[0], []byte("-"))
		begin, err := strconv.ParseUint(string(from), 16, 64)
		if err != nil {
			return fmt.Errorf("read what is mapped: %w", err)
		}
		end, err := strconv.ParseUint(string(to), 16, 64)
		if err != nil {
			return fmt.Errorf("read what is mapped: %w", err)
		}
		if _, _, failed := syscall.Syscall(syscall.SYS_MADVISE, uintptr(begin), uintptr(end-begin), syscall.MADV_DONTNEED); failed != 0 {
			return fmt.Errorf("give back pages of the program: %w", failed)
		}
	}
	return nil
}
