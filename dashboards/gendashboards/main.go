// Command gendashboards writes Onward's Grafana dashboards: a file here for each, dashboards/NAME.json there. It knows
// of Grafana's model what these dashboards use (grafana.go) and imports the standard library alone; dashboards/tests
// checks what it writes against Grafana's own schema.
//
//	go generate ./dashboards/...
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . ..

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendashboards FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gendashboards:", err)
		os.Exit(1)
	}
}

func boards() []board {
	return []board{overview(), jobs(), webhooks(), sending(), database()}
}

func write(folder string) error {
	for _, b := range boards() {
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false) // PromQL is full of < and >
		e.SetIndent("", "  ")
		if err := e.Encode(b.dashboard()); err != nil {
			return fmt.Errorf("encode %s: %w", b.name, err)
		}
		path := filepath.Join(folder, b.name+".json")
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil { //nolint:gosec // a document, for everyone to read
			return err
		}
	}
	return nil
}
