package pgtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/pkg/embedded"
)

// The list has every version that the matrix of .ci/test.sh runs against.
func TestEveryVersionHasItsBinaries(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, pom))
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range []string{"14", "15", "16", "17", "18"} {
		if version, err := versionOf(string(text), major); err != nil || !strings.HasPrefix(version, major+".") {
			t.Errorf("%s: %q, %v", major, version, err)
		}
	}
	if version, err := versionOf(string(text), "13"); err == nil {
		t.Errorf("13: %q", version)
	}
}

// A version that cannot be had is told from a broken setting: the one may be skipped, the other is a mistake.
func TestVersionThatCannotBeHad(t *testing.T) {
	t.Setenv(VersionVariable, "99")
	if _, err := Binaries(t.Context()); !errors.Is(err, embedded.ErrNoPostgres) || !strings.Contains(err.Error(), "no PostgreSQL 99") {
		t.Errorf("99: %v", err)
	}
	t.Setenv(VersionVariable, "newest")
	if _, err := Binaries(t.Context()); err == nil || errors.Is(err, embedded.ErrNoPostgres) {
		t.Errorf("newest: %v", err)
	}
}

func TestBinariesAreOfTheVersionAsked(t *testing.T) {
	own, err := embedded.FindPostgres(t.Context())
	if err != nil {
		t.Skip(err)
	}
	major := majorOf(t.Context(), own)
	t.Setenv(VersionVariable, major)
	if bin, err := Binaries(t.Context()); err != nil || bin != own || major == "" {
		t.Errorf("version %q of %s: %s, %v", major, own, bin, err)
	}
}
