package pgtest

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// pom is the file, below the repository's root, that names the server binaries of each major version.
const pom = "deploy/postgres/pom.xml"

// fetched returns the folder of the binaries of a major version and fetches them with Maven where they are not there yet.
// They are kept in .cache/postgres of the repository, one folder per version; several processes may ask at once.
func fetched(ctx context.Context, major string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, pom))
	if err != nil {
		return "", fmt.Errorf("read the list of PostgreSQL's binaries: %w", err)
	}
	version, err := versionOf(string(text), major)
	if err != nil {
		return "", err
	}
	cache := filepath.Join(cacheOf(root), "postgres")
	home := filepath.Join(cache, version)
	bin := filepath.Join(home, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	return bin, fetch(ctx, filepath.Join(root, pom), major, cache, home)
}

// repository is the nearest folder, from the working directory upwards, that holds the pom.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, pom)); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("find the repository: no %s in the working directory or above it", pom)
		}
		dir = up
	}
}

// cacheOf is the repository's .cache; started by root, servers run as another user, and where that one cannot get there it
// is a folder of the machine's.
func cacheOf(root string) string {
	cache := filepath.Join(root, ".cache")
	real, err := filepath.EvalSymlinks(root)
	if os.Geteuid() != 0 || err != nil {
		return cache
	}
	for dir := real; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&1 == 0 {
			return "/var/cache/segue"
		}
	}
	return cache
}

// versionOf finds a major version's profile in the pom and the version that it names.
func versionOf(pom, major string) (string, error) {
	_, profile, ok := strings.Cut(pom, "<id>"+major+"</id>")
	profile, _, closed := strings.Cut(profile, "</profile>")
	_, version, named := strings.Cut(profile, "<version>")
	version, _, ended := strings.Cut(version, "</version>")
	if !ok || !closed || !named || !ended {
		return "", fmt.Errorf("the list of PostgreSQL's binaries has no version %s", major)
	}
	return version, nil
}

// platform is the artifact's name for this machine.
func platform() string {
	arch := map[string]string{"amd64": "amd64", "arm64": "arm64v8"}[runtime.GOARCH]
	return runtime.GOOS + "-" + arch
}

// fetch downloads and unpacks into a folder of its own and renames it, so that a half-done one is never taken for a whole one.
func fetch(ctx context.Context, pom, major, cache, home string) error {
	for _, tool := range []string{"mvn", "tar", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not on the PATH (Debian: apt-get install maven tar xz-utils)", tool)
		}
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // the servers' user reads it
		return err
	}
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(part) }()
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "-P", major, "-Dplatform="+platform(), "dependency:copy-dependencies", "-DoutputDirectory="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, out)
	}
	unpacked := filepath.Join(part, "unpacked")
	if err := unpack(ctx, part, unpacked); err != nil {
		return err
	}
	if err := os.Rename(unpacked, home); err != nil {
		if _, there := os.Stat(home); there == nil {
			return nil // another process was faster
		}
		return err
	}
	return nil
}

// unpack takes the one archive out of the one jar in part.
func unpack(ctx context.Context, part, to string) error {
	jars, err := filepath.Glob(filepath.Join(part, "*.jar"))
	if err != nil || len(jars) != 1 {
		return fmt.Errorf("%d jars were downloaded, want one: %w", len(jars), err)
	}
	archive := filepath.Join(part, "archive.txz")
	if err := extract(jars[0], archive); err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o755); err != nil { //nolint:gosec // the servers' user reads it
		return err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xJf", archive, "-C", to, "--no-same-owner").CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}

func extract(jar, to string) (err error) {
	z, err := zip.OpenReader(jar)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".txz") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		out, err := os.Create(to)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in) //nolint:gosec // as large as what Maven Central serves
		return errors.Join(err, out.Close())
	}
	return fmt.Errorf("%s holds no .txz", filepath.Base(jar))
}
