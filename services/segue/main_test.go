package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// line runs one command line in a world of its own.
type line struct {
	env   map[string]string
	files map[string]string
}

func (l line) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	p := &process{
		stdout: &out, stderr: &talk, version: "v0.0.0-test",
		lookup:     func(v string) (string, bool) { s, ok := l.env[v]; return s, ok },
		executable: os.Executable,
		readFile: func(path string) ([]byte, error) {
			if s, ok := l.files[path]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		},
	}
	code = p.run(t.Context(), args)
	return code, out.String(), talk.String()
}

const unreachable = `migration: shop
source: {postgres: "postgres://u:hunter2@127.0.0.1:1/a"}
target: {postgres: "postgres://u:hunter2@127.0.0.1:1/b"}
tables:
  - from: public.*
`

func TestExitCodesAndTalk(t *testing.T) {
	good := map[string]string{"segue.yaml": unreachable, "bad.yaml": "migration: shop\nsurce: {}\n"}
	for _, c := range []struct {
		name   string
		args   string
		env    map[string]string
		code   int
		stdout string // part of it; "" means nothing at all
		stderr string
	}{
		{"no command", "", nil, exitFine, "Usage:", ""},
		{"help", "--help", nil, exitFine, "Exit codes", ""},
		{"help of a command", "reconcile --help", nil, exitFine, "segue reconcile --wait --timeout 5m", ""},
		{"version", "version", nil, exitFine, "segue v0.0.0-test", ""},
		{"version as JSON", "version -o json", nil, exitFine, `"version": "v0.0.0-test"`, ""},
		{"completion", "completion bash", nil, exitFine, "__start_segue", ""},
		{"unknown command", "chek", nil, exitUsage, "", `unknown command "chek": did you mean check?`},
		{"unknown flag", "status --wtch", nil, exitUsage, "", "unknown flag: --wtch"},
		{"bad format", "version -o xml", nil, exitUsage, "", `"xml" is neither table nor json`},
		{"argument too many", "version now", nil, exitUsage, "", `unexpected argument "now"`},
		{"run what", "run", nil, exitUsage, "", "it wants one of: all, applier, deduplicator, reader, reconciler, transformer"},
		{"run nonsense", "run writer", nil, exitUsage, "", `unknown command "writer"`},
		{"target what", "target", nil, exitUsage, "", "it wants one of: finish, prepare"},
		{"bad setting", "status --listen x", nil, exitUsage, "", "unknown flag: --listen"},
		{"bad settings, all at once", "status", map[string]string{"SEGUE_LOG_LEVEL": "loud", "SEGUE_REGISTRY_URL": "http://r"}, exitUsage, "",
			"segue status: 2 of the settings are wrong\n  SEGUE_LOG_LEVEL: \"loud\" is no level: set debug, info, warn or error\n  SEGUE_KAFKA_BROKERS: a registry is set, but no brokers"},
		{"brokers without registry", "check", map[string]string{"SEGUE_KAFKA_BROKERS": "a:1"}, exitUsage, "",
			"segue check: 1 of the settings are wrong\n  SEGUE_REGISTRY_URL: brokers are set, but no schema registry: set the URL of a Confluent-compatible one, such as http://localhost:8081, or kafka.wire: json"},
		{"a service without brokers", "run reader", nil, exitUsage, "", "hint: set SEGUE_KAFKA_BROKERS and SEGUE_REGISTRY_URL, or use: segue run all"},
		{"no file", "check -c nothing.yaml", nil, exitError, "", "hint: write one"},
		{"mistakes in the file", "status -c bad.yaml", nil, exitError, "", `bad.yaml:2:1`},
		{"check finds mistakes in the file", "check -c bad.yaml", nil, exitFindings, "ERROR    bad.yaml:2:1", "the migration cannot run yet"},
		{"check finds dead databases", "check", nil, exitFindings, "ERROR    source", "2 errors and 0 warnings"},
		{"reconcile without a running one", "reconcile", nil, exitError, "", "hint: start it with: segue run all"},
		{"reconcile a pattern", "reconcile --table public.*", nil, exitUsage, "", "it names no single table"},
		{"health of nobody", "health --listen 127.0.0.1:1", nil, exitError, "", "hint: is a segue process running"},
		{"health of none", "health --listen off", nil, exitUsage, "", "there is nobody to ask"},
		{"target unreachable", "target finish", nil, exitError, "", "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := line{env: withDataDir(t, c.env), files: good}.run(t, strings.Fields(c.args)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, o := range []struct{ name, got, want string }{{"stdout", stdout, c.stdout}, {"stderr", stderr, c.stderr}} {
				if (o.want == "") != (o.got == "") || !strings.Contains(o.got, o.want) {
					t.Errorf("%s:\n%s\nwant %q in it", o.name, o.got, o.want)
				}
			}
			if strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("shows a password:\n%s%s", stdout, stderr)
			}
		})
	}
}

func withDataDir(t *testing.T, env map[string]string) map[string]string {
	out := map[string]string{"SEGUE_DATA_DIR": filepath.Join(t.TempDir(), "data")}
	for k, v := range env {
		out[k] = v
	}
	return out
}

func TestStatusSaysWhatItCannotReach(t *testing.T) {
	l := line{env: withDataDir(t, nil), files: map[string]string{"segue.yaml": unreachable}}
	code, stdout, _ := l.run(t, "status")
	for _, want := range []string{"source   not reached: ", "kafka    not reached: no brokers are set", "target   not reached: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code != exitFine {
		t.Errorf("exit code %d: status shows what there is", code)
	}
	_, stdout, _ = l.run(t, "status", "-o", "json")
	var r map[string]any
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r["migration"] != "shop" {
		t.Errorf("%v in\n%s", err, stdout)
	}
}

// Every command has a description and an example that begins like itself, and every flag says what it does.
func TestHelpIsComplete(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			if child.Name() == "help" || child.Name() == "completion" {
				continue
			}
			if child.Short == "" || !strings.Contains(child.Example, "segue ") {
				t.Errorf("%s: description %q, example %q", child.CommandPath(), child.Short, child.Example)
			}
			visit(child)
		}
	}
	visit((&process{}).root())
}

func TestEndingKeepsItsCause(t *testing.T) {
	if err := usage(fs.ErrNotExist); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
