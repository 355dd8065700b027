package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"onward/web/csvtable"
)

// source is the file that an import reads, and the one that its refused rows go to.
type source struct {
	name string // without its folder
	r    io.Reader
	size int64 // 0: not known
	file *os.File

	refusedPath string
	refusedFile *os.File
	refusedCSV  *csv.Writer
}

// openSource opens a file, or stdin for "-". A file that is not UTF-8 is refused here, before anything is imported.
func (t *terminal) openSource(path, refused string) (*source, error) {
	s := &source{name: filepath.Base(path), refusedPath: refused}
	if path == "-" {
		s.name, s.r = "stdin", t.stdin
		if s.refusedPath == "" {
			s.refusedPath = "stdin.refused.csv"
		}
		return s, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s.r, s.file = f, f
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", path)
	}
	if err == nil && info.Mode().IsRegular() {
		s.size = info.Size()
		err = csvtable.CheckFile(f)
	}
	if err != nil {
		return nil, errors.Join(s.wrong(err), f.Close())
	}
	if s.refusedPath == "" {
		s.refusedPath = path + ".refused.csv"
	}
	return s, nil
}

// wrong names the file in an error about it.
func (s *source) wrong(err error) error { return fmt.Errorf("%s: %w", s.name, err) }

// refuse writes a row down with its line and why it was not taken. The file is made with the first.
func (s *source) refuse(head []string, row csvtable.Row, reason string) error {
	if s.refusedCSV == nil {
		f, err := os.OpenFile(s.refusedPath, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // as private as the contacts in it
		if err != nil {
			return fmt.Errorf("write down refused rows: %w", err)
		}
		s.refusedFile, s.refusedCSV = f, csv.NewWriter(f)
		if err := s.refusedCSV.Write(append([]string{"line", "reason"}, head...)); err != nil {
			return fmt.Errorf("write down refused rows: %w", err)
		}
	}
	if err := s.refusedCSV.Write(append([]string{strconv.Itoa(row.Line), reason}, row.Cells...)); err != nil {
		return fmt.Errorf("write down refused rows: %w", err)
	}
	return nil
}

// close writes out what is left. It may be called twice.
func (s *source) close() error {
	var errs []error
	if s.file != nil {
		errs = append(errs, s.file.Close())
		s.file = nil
	}
	if s.refusedCSV != nil {
		s.refusedCSV.Flush()
		errs = append(errs, s.refusedCSV.Error(), s.refusedFile.Close())
		s.refusedCSV = nil
	}
	return errors.Join(errs...)
}
