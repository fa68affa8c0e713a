package stacktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"segue/pkg/kafkatest"
)

// RaceVariable is the variable that, set to true, builds the services with the race detector.
const RaceVariable = "SEGUE_TEST_RACE"

// built is the path of the binary. It is package state for the same reason as shared.
var built once[string] //nolint:gochecknoglobals // as said

// Binary builds segue once per test process and returns its path.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := built.get(func() (string, error) { return build(Shared(tb).folder) })
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func build(f *folder) (string, error) {
	root, err := kafkatest.Root()
	if err != nil {
		return "", err
	}
	path := f.join("segue")
	args := []string{"build", "-o", path}
	if os.Getenv(RaceVariable) == "true" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./services/segue")...) //nolint:noctx // a build ends by itself
	cmd.Dir = filepath.Clean(root)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build segue: %w\n%s", err, out)
	}
	return path, nil
}
