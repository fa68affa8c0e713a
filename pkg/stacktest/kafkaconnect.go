package stacktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"segue/pkg/kafkatest"
)

// KafkaConnect is Kafka Connect in standalone mode with one connector.
type KafkaConnect struct{ process *process }

// StartConnect runs a connector in Kafka Connect, which reads the stack's topics. The end of its log is shown where the test failed.
func (s *Stack) StartConnect(tb testing.TB, connector map[string]string) *KafkaConnect {
	tb.Helper()
	java, err := exec.LookPath("java")
	if err == nil {
		_, err = exec.LookPath("mvn")
	}
	need(tb, "Java 17 and Maven for Kafka Connect (Debian: apt-get install openjdk-17-jre-headless maven)", err)
	ctx, cancel := context.WithTimeout(tb.Context(), serverStart)
	defer cancel()
	jars, err := kafkatest.ConnectJars(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(s.dir, "connect."+name) }
	worker := map[string]string{
		"bootstrap.servers": strings.Join(s.servers.Kafka(tb), ","),
		"key.converter":     "org.apache.kafka.connect.json.JsonConverter",
		"value.converter":   "org.apache.kafka.connect.json.JsonConverter",
		"listeners":         fmt.Sprintf("http://127.0.0.1:%d", port),
		// Nothing is on a plugin path, and what is on the class path names itself: it needs no search.
		"plugin.discovery":             "service_load",
		"offset.storage.file.filename": file("offsets"),
		"consumer.auto.offset.reset":   "earliest",
		"consumer.metadata.max.age.ms": "500", // topics may be made later
	}
	for name, text := range map[string]string{
		"worker": properties(worker), "connector": properties(connector), "log4j2": kafkatest.LogSettings,
	} {
		if err := os.WriteFile(file(name+".properties"), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	p, err := s.servers.start(process{
		name: "connect", path: java, log: file("log"),
		args: []string{
			"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(jars, "*"), "-Dlog4j2.configurationFile=" + file("log4j2.properties"),
			"org.apache.kafka.connect.cli.ConnectStandalone", file("worker.properties"), file("connector.properties"),
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.end(syscall.SIGKILL, killWithin); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("the end of Kafka Connect's log:\n%s", tail(p.log, 60))
		}
	})
	return &KafkaConnect{process: p}
}

// Log is everything that Connect has written.
func (c *KafkaConnect) Log() (string, error) {
	text, err := os.ReadFile(c.process.log)
	return string(text), err
}

// Running fails where Connect has ended, or its task has.
func (c *KafkaConnect) Running() error {
	if !c.process.running() {
		return fmt.Errorf("connect has ended with %d", c.process.code())
	}
	log, err := c.Log()
	if err == nil && strings.Contains(log, "Task is being killed") {
		err = errors.New("the connector's task has failed")
	}
	return err
}

func properties(m map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%s\n", key, strings.ReplaceAll(m[key], `\`, `\\`))
	}
	return b.String()
}
