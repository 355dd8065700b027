// Command gendocs writes the reference of the lifecycle rules, docs/lifecycle.md, by asking the rules
// themselves: every status, every event, every axis. It imports lifecycle and the standard library alone.
//
//	go generate ./lifecycle
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendocs FILE.md")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(document()), 0o644); err != nil { //nolint:gosec // a document, for everyone to read
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}
