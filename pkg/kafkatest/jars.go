package kafkatest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The files, below the repository's root, that name the jars of the broker and of Kafka Connect with Debezium's JDBC sink.
const (
	pom        = "deploy/kafka/pom.xml"
	connectPOM = "deploy/connect/pom.xml"
)

// Root finds the repository's root: the nearest folder, from the working directory upwards, that holds the pom.
func Root() (string, error) {
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

// Jars returns the folder with the broker's jars and fetches them with Maven where they are not there yet. They are kept in
// .cache/kafka of the repository, one folder per content of the pom; several processes may ask at once.
func Jars(ctx context.Context) (string, error) { return jars(ctx, pom, "kafka") }

// ConnectJars is Jars for Kafka Connect.
func ConnectJars(ctx context.Context) (string, error) { return jars(ctx, connectPOM, "connect") }

func jars(ctx context.Context, pom, name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, pom))
	if err != nil {
		return "", fmt.Errorf("read the list of Kafka's jars: %w", err)
	}
	sum := sha256.Sum256(text)
	cache := filepath.Join(root, ".cache", name)
	jars := filepath.Join(cache, hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(jars); err == nil {
		return jars, nil
	}
	return jars, fetch(ctx, filepath.Join(root, pom), cache, jars)
}

// fetch downloads into a folder of its own and renames it, so that a half-done download is never taken for a whole one.
func fetch(ctx context.Context, pom, cache, jars string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("fetch Kafka's jars: mvn is not on the PATH: install Maven (Debian: apt-get install maven), or set SEGUE_TEST_KAFKA to the brokers of a running Kafka")
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return fmt.Errorf("fetch Kafka's jars: %w", err)
	}
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		return fmt.Errorf("fetch Kafka's jars: %w", err)
	}
	defer func() { _ = os.RemoveAll(part) }()
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch Kafka's jars: mvn: %w\n%s", err, out)
	}
	if err := os.Rename(part, jars); err != nil {
		if _, there := os.Stat(jars); there == nil {
			return nil // another process was faster
		}
		return fmt.Errorf("fetch Kafka's jars: %w", err)
	}
	return nil
}
