package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gotalk-go/gotalk"
)

const (
	partialDir   = ".partial"         // where uploads are kept until they are complete
	partialsLast = 7 * 24 * time.Hour // after they were written to; then a start of the server removes them
	maxName      = 200                // bytes
)

// store is the directory that is served. It is reached through an os.Root, so that no name and no symbolic link leads out
// of it. Its methods may be called concurrently.
type store struct{ root *os.Root }

// openStore makes the directory if need be.
func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &store{root}
	if err := root.Mkdir(partialDir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		root.Close()
		return nil, err
	}
	partials, err := fs.ReadDir(root.FS(), partialDir)
	if err != nil {
		root.Close()
		return nil, err
	}
	for _, e := range partials {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > partialsLast {
			s.root.Remove(partial(e.Name())) // or next time
		}
	}
	return s, nil
}

func (s *store) close() error { return s.root.Close() }

// checkName refuses what is no name of a file in the directory itself.
func checkName(name string) error {
	odd := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`/\`, r) }
	switch {
	case name == "":
		return refuse(gotalk.CodeInvalidArgument, "the file has no name")
	case len(name) > maxName:
		return refuse(gotalk.CodeInvalidArgument, "the file's name is longer than %d bytes", maxName)
	case !utf8.ValidString(name), strings.ContainsFunc(name, odd), name[0] == '.', !filepath.IsLocal(name):
		return refuse(gotalk.CodeInvalidArgument, "%q cannot be the name of a file here: no folders, no dot in front, no control characters", name)
	}
	return nil
}

// partial is where the file of that name is kept until it is complete.
func partial(name string) string { return filepath.Join(partialDir, name) }

// list returns the complete files, by name.
func (s *store) list() ([]fileInfo, error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, storeError(err)
	}
	files := []fileInfo{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && checkName(e.Name()) == nil {
			files = append(files, fileInfo{e.Name(), info.Size(), info.ModTime().UTC().Truncate(time.Second)})
		}
	}
	slices.SortFunc(files, func(a, b fileInfo) int { return cmp.Compare(a.Name, b.Name) })
	return files, nil
}

// open opens a complete file.
func (s *store) open(name string) (f *os.File, size int64, err error) {
	info, err := s.root.Lstat(name) // before it is opened, which a named pipe would hold up
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err == nil {
		f, err = s.root.Open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, refuse(gotalk.CodeNotFound, "there is no file %q", name)
	}
	if err != nil {
		return nil, 0, storeError(err)
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, storeError(err)
	}
	return f, info.Size(), nil
}

// openPartial opens what there is of a file that is being uploaded.
func (s *store) openPartial(name string) (f *os.File, size int64, err error) {
	if f, err = s.root.OpenFile(partial(name), os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, 0, storeError(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, storeError(err)
	}
	return f, info.Size(), nil
}

func (s *store) dropPartial(name string) { s.root.Remove(partial(name)) }

// complete puts a file that is complete in the place where it is seen.
func (s *store) complete(f *os.File, name string) error {
	if err := f.Sync(); err != nil { // or else a crash could leave a hole behind a name that says all is well
		return storeError(err)
	}
	if err := f.Close(); err != nil {
		return storeError(err)
	}
	if info, err := s.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return refuse(gotalk.CodeAlreadyExists, "%q is no file, and cannot be replaced by one", name)
	}
	return storeError(s.root.Rename(partial(name), name))
}

// storeError makes an error of the file system one that may be told to peers: without paths of this machine.
func storeError(err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return refuse(gotalk.CodeResourceExhausted, "the server's disk is full")
	case errors.As(err, &pathErr):
		err = pathErr.Err
	case errors.As(err, &linkErr):
		err = linkErr.Err
	default:
		return err
	}
	return refuse(gotalk.CodeInternal, "the server cannot get at the file: %v", err)
}

// parseSize reads a number of bytes such as 500M or 10G.
func parseSize(text string) (int64, error) {
	var n int64
	var unit string
	if k, err := fmt.Sscanf(text+" ", "%d%s ", &n, &unit); k == 0 || n <= 0 {
		return 0, fmt.Errorf("%q is no number of bytes such as 500M or 10G: %v", text, err)
	}
	shift, ok := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(unit), "B"), "I")]
	if !ok || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no number of bytes such as 500M or 10G", text)
	}
	return n << shift, nil
}

// formatSize writes a number of bytes for people.
func formatSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for ; v >= 999.95 && i < 3; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[i])
}
