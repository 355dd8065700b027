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
// kernel maps again what is still used, from its cache. A mapping with pages of this process's own is left alone: what the
// linker relocated at the start, or where a debugger stops, is not in the file.
func GiveBackStartup() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("read what is mapped: %w", err)
	}
	for _, m := range fileOnly(smaps, program) {
		if _, _, failed := syscall.Syscall(syscall.SYS_MADVISE, m.begin, m.end-m.begin, syscall.MADV_DONTNEED); failed != 0 {
			return fmt.Errorf("give back pages of the program: %w", failed)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ begin, end uintptr }

// fileOnly lists the mappings of a file that are not written to and hold nothing but its pages, from the text of smaps.
func fileOnly(smaps []byte, file string) (list []mapping) {
	own, whole := false, false // a mapping of the file is being read; it was not changed, as far as is known
	for lines := bufio.NewScanner(bytes.NewReader(smaps)); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		switch {
		case len(fields) < 2:
		case !bytes.HasSuffix(fields[0], []byte(":")):
			// 00400000-01283000 r-xp 00000000 fe:00 1234    /usr/local/bin/onward
			own = bytes.HasSuffix(lines.Bytes(), []byte(" "+file)) && !bytes.ContainsRune(fields[1], 'w')
			from, to, _ := bytes.Cut(fields[0], []byte("-"))
			begin, err1 := strconv.ParseUint(string(from), 16, 64)
			end, err2 := strconv.ParseUint(string(to), 16, 64)
			if own = own && err1 == nil && err2 == nil; own {
				list, whole = append(list, mapping{uintptr(begin), uintptr(end)}), true
			}
		case own && whole && (string(fields[0]) == "Anonymous:" || string(fields[0]) == "Swap:") && string(fields[1]) != "0":
			list, whole = list[:len(list)-1], false
		}
	}
	return list
}
