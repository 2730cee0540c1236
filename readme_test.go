package gotalk_test

import (
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readmeBlocks returns the blocks of README.md that are fenced with that word.
func readmeBlocks(t *testing.T, fence string) (blocks []string) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, block := range strings.Split(string(b), "\n```"+fence+"\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		blocks = append(blocks, block)
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// module is a module of its own in a new directory that uses this checkout in the place of the module at that path.
type module string

func newModule(t *testing.T, goMod string) module {
	m := module(t.TempDir())
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	m.write(t, "go.mod", goMod)
	m.write(t, "go.sum", string(sums))
	return m
}

func (m module) write(t *testing.T, file, text string) {
	path := filepath.Join(string(m), file)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// run runs the go command in the module, without a network, and returns what it prints.
func (m module) run(t *testing.T, args ...string) string {
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = string(m)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, err, stderr.String())
	return stdout.String()
}

// checkout is where this module's source is.
func checkout(t *testing.T) string {
	dir, err := os.Getwd()
	require.NoError(t, err)
	return dir
}

// importOf says where the packages are from that code in README.md uses without importing them.
var importOf = map[string]string{
	"gotalk": "github.com/gotalk-go/gotalk", "context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http",
	"io": "io", "log": "log", "sha256": "crypto/sha256", "time": "time",
}

// asProgram makes a program of code that is the body of main, unless it is a program already.
func asProgram(code string) string {
	if strings.HasPrefix(code, "package main\n") {
		return code
	}
	var imports []string
	for _, name := range regexp.MustCompile(`\b([a-z0-9]+)\.[A-Z]`).FindAllStringSubmatch(code, -1) {
		if path := importOf[name[1]]; path != "" && !slices.Contains(imports, path) {
			imports = append(imports, path)
		}
	}
	return fmt.Sprintf("package main\n\nimport (\n\"%s\"\n)\n\nfunc main() {\n%s}\n", strings.Join(imports, "\"\n\""), code)
}

func TestReadmeCodeCompiles(t *testing.T) {
	m := newModule(t, fmt.Sprintf("module readme\n\ngo 1.25\n\nrequire github.com/gotalk-go/gotalk v1.4.0\n\n"+
		"replace github.com/gotalk-go/gotalk => %s\n", checkout(t)))
	for i, code := range readmeBlocks(t, "go") {
		formatted, err := format.Source([]byte(code))
		require.NoError(t, err, code)
		require.Equal(t, string(formatted), code, "as gofmt has it")
		m.write(t, fmt.Sprintf("block%d/main.go", i+1), asProgram(code))
	}
	m.run(t, "vet", "./...")
	require.Equal(t, "Hello Rasmus\n", m.run(t, "run", "./block1"))
}

// What README.md says about how things differ is worth as much as the tests that it names.
func TestReadmeNamesTestsThatExist(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var source strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		source.Write(b)
	}
	names := regexp.MustCompile("`((?:Test|Example)[A-Z]\\w+)`").FindAllStringSubmatch(string(b), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.Contains(t, source.String(), "\nfunc "+name[1]+"(")
	}
}

// Links of the documents lead somewhere.
func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	code := regexp.MustCompile("(?s)\n```.*?\n```")
	for _, pattern := range []string{"*.md", "examples/*.md", "examples/*/*.md", "examples/*/*/*.md"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			text := code.ReplaceAllString(string(b), "")
			for _, to := range link.FindAllStringSubmatch(text, -1) {
				_, err := os.Stat(filepath.Join(filepath.Dir(file), filepath.FromSlash(to[1])))
				require.NoError(t, err, "link in %s", file)
			}
		}
	}
}
