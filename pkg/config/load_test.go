package config_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"segue/pkg/config"
)

func load(env, flags, files map[string]string) (*config.Settings, error) {
	return config.Load(config.Lookup{
		Getenv: func(v string) string { return env[v] },
		Flag:   func(f string) (string, bool) { v, ok := flags[f]; return v, ok },
		ReadFile: func(p string) ([]byte, error) {
			if b, ok := files[p]; ok {
				return []byte(b), nil
			}
			return nil, fs.ErrNotExist
		},
	})
}

func TestDefaults(t *testing.T) {
	s, err := load(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Embedded() || s.Migration != "segue.yaml" || s.DataDir != ".segue" || s.Listen != "127.0.0.1:7070" || s.Log.Format != "text" {
		t.Fatalf("defaults: %+v", s)
	}
}

func TestFlagWinsOverVariable(t *testing.T) {
	s, err := load(map[string]string{"SEGUE_CONFIG": "a.yaml", "SEGUE_LISTEN": "0.0.0.0:1"}, map[string]string{"config": "b.yaml", "listen": "off"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Migration != "b.yaml" || s.Listen != "" {
		t.Fatalf("got %+v", s)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	s, err := load(map[string]string{
		"SEGUE_KAFKA_BROKERS": "a:1, b:2", "SEGUE_REGISTRY_URL": "http://r:8081/", "SEGUE_REGISTRY_USER": "u",
		"SEGUE_REGISTRY_PASSWORD_FILE": "/pw", "SEGUE_KAFKA_SASL_MECHANISM": "scram-sha-512",
		"SEGUE_KAFKA_SASL_USER": "k", "SEGUE_KAFKA_SASL_PASSWORD_FILE": "/pw",
	}, nil, map[string]string{"/pw": "secret\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Kafka.Brokers, "+"); got != "a:1+b:2" {
		t.Errorf("brokers %s", got)
	}
	if s.Registry != (config.Registry{URL: "http://r:8081", User: "u", Password: "secret"}) {
		t.Errorf("registry %+v", s.Registry)
	}
	if s.Kafka.SASL != (config.SASL{Mechanism: "SCRAM-SHA-512", User: "k", Password: "secret"}) {
		t.Errorf("sasl %+v", s.Kafka.SASL)
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := load(map[string]string{
		"SEGUE_KAFKA_BROKERS":        "nowhere",
		"SEGUE_KAFKA_TLS":            "maybe",
		"SEGUE_KAFKA_TLS_CA":         "/ca",
		"SEGUE_KAFKA_SASL_MECHANISM": "GSSAPI",
		"SEGUE_REGISTRY_URL":         "ftp://r",
		"SEGUE_REDIS_URL":            "http://user:hunter2@r",
		"SEGUE_LOG_LEVEL":            "loud",
		"SEGUE_INSTANCE":             "ho st",
	}, map[string]string{"log-format": "xml", "listen": "here"}, nil)
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("want Problems, got %v", err)
	}
	want := []string{"SEGUE_INSTANCE", "--listen", "SEGUE_LOG_LEVEL", "--log-format", "SEGUE_KAFKA_BROKERS", "SEGUE_KAFKA_TLS",
		"SEGUE_KAFKA_SASL_MECHANISM", "SEGUE_REGISTRY_URL", "SEGUE_REDIS_URL", "SEGUE_KAFKA_TLS_CA"}
	var got []string
	for _, p := range problems {
		got = append(got, p.Variable)
		if !strings.Contains(p.Text, "set ") {
			t.Errorf("%s does not say what to set: %s", p.Variable, p.Text)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("shows a password: %v", err)
	}
}

func TestWhatBelongsTogether(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"registry without brokers", map[string]string{"SEGUE_REGISTRY_URL": "http://r"}, "SEGUE_KAFKA_BROKERS: a registry is set"},
		{"mechanism alone", map[string]string{"SEGUE_KAFKA_SASL_MECHANISM": "PLAIN"}, "SEGUE_KAFKA_SASL_MECHANISM: it wants a user"},
		{"user alone", map[string]string{"SEGUE_KAFKA_SASL_USER": "u"}, "SEGUE_KAFKA_SASL_USER: it does nothing"},
		{"both secret and file", map[string]string{"SEGUE_REDIS_URL": "redis://r:1", "SEGUE_REDIS_URL_FILE": "/x"}, "SEGUE_REDIS_URL_FILE: SEGUE_REDIS_URL is set too"},
		{"certificate without key", map[string]string{"SEGUE_KAFKA_TLS": "true", "SEGUE_KAFKA_TLS_CERT": "/c"}, "SEGUE_KAFKA_TLS_CERT: certificate and key"},
		{"missing authority", map[string]string{"SEGUE_KAFKA_TLS": "true", "SEGUE_KAFKA_TLS_CA": "/c"}, "SEGUE_KAFKA_TLS_CA: read the authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(c.env, nil, nil)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("want one problem %q, got %v", c.want, err)
			}
		})
	}
}

// The README's table of settings is written by hand for people; this keeps it complete.
func TestREADMEListsEverySetting(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no README beside this package")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range config.All() {
		if !strings.Contains(string(readme), "`"+s.Variable+"`") {
			t.Errorf("README.md does not list %s: add the row\n%s", s.Variable, s.Row())
		}
	}
}
