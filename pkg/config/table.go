package config

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// Setting is one row of the table of settings.
type Setting struct {
	Variable string
	Flag     string // empty: no flag
	Short    string // the flag's one-letter form
	Default  string
	// Secret: it has no flag, because other users can see a process's arguments, and it may come from a file: the variable with _FILE.
	Secret bool
	Help   string
	set    func(*draft, string) error
}

// All is the table of settings, in the order in which people read it.
func All() []Setting {
	return append(processSettings(), append(kafkaSettings(), serverSettings()...)...)
}

func processSettings() []Setting {
	return []Setting{
		{Variable: "SEGUE_CONFIG", Flag: "config", Short: "c", Default: "segue.yaml", Help: "the migration's file",
			set: func(d *draft, v string) error { d.Migration = v; return nil }},
		{Variable: "SEGUE_DATA_DIR", Flag: "data-dir", Default: ".segue", Help: "where the embedded Kafka, registry and Redis keep their data",
			set: func(d *draft, v string) error { d.DataDir = v; return nil }},
		{Variable: "SEGUE_STAGES", Flag: "stages", Help: "fused (in memory) or staged (topics in between); none: fused for run all, staged for the others", set: setStages},
		{Variable: "SEGUE_INSTANCE",
			Help: "name of this process among several of its service, the same after each restart; none: host name and port of SEGUE_LISTEN", set: setInstance},
		{Variable: "SEGUE_LISTEN", Flag: "listen", Default: "127.0.0.1:7070", Help: "address of /livez, /readyz and /metrics; off: none", set: setListen},
		{Variable: "SEGUE_LOG_LEVEL", Flag: "log-level", Default: "info", Help: "debug, info, warn or error", set: setLevel},
		{Variable: "SEGUE_LOG_FORMAT", Flag: "log-format", Default: "text", Help: "text or json", set: setFormat},
		{Variable: "SEGUE_EMBEDDED_SYNC", Default: "false",
			Help: "the embedded Kafka forces every batch to the disk: survives a power cut too, costs speed",
			set:  func(d *draft, v string) (err error) { d.Sync, err = truth(v); return err }},
	}
}

func kafkaSettings() []Setting {
	return []Setting{
		{Variable: "SEGUE_KAFKA_BROKERS", Flag: "brokers", Help: "Kafka brokers, host:port with commas between; none: an embedded one (run all, demo)", set: setBrokers},
		{Variable: "SEGUE_KAFKA_TLS", Default: "false", Help: "talk TLS to the brokers",
			set: func(d *draft, v string) (err error) { d.tls, err = truth(v); return err }},
		{Variable: "SEGUE_KAFKA_TLS_CA", Help: "file of the certificate authority in PEM form; none: the system's",
			set: func(d *draft, v string) error { d.ca = v; return nil }},
		{Variable: "SEGUE_KAFKA_TLS_CERT", Help: "file of the client's certificate",
			set: func(d *draft, v string) error { d.cert = v; return nil }},
		{Variable: "SEGUE_KAFKA_TLS_KEY", Help: "file of the client's private key",
			set: func(d *draft, v string) error { d.key = v; return nil }},
		{Variable: "SEGUE_KAFKA_SASL_MECHANISM", Help: "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", set: setMechanism},
		{Variable: "SEGUE_KAFKA_SASL_USER", Help: "user at the brokers",
			set: func(d *draft, v string) error { d.Kafka.SASL.User = v; return nil }},
		{Variable: "SEGUE_KAFKA_SASL_PASSWORD", Secret: true, Help: "password at the brokers",
			set: func(d *draft, v string) error { d.Kafka.SASL.Password = v; return nil }},
	}
}

func serverSettings() []Setting {
	return []Setting{
		{Variable: "SEGUE_REGISTRY_URL", Flag: "registry", Help: "a Confluent-compatible schema registry; not needed with kafka.wire: json", set: setRegistry},
		{Variable: "SEGUE_REGISTRY_USER", Help: "user at the registry",
			set: func(d *draft, v string) error { d.Registry.User = v; return nil }},
		{Variable: "SEGUE_REGISTRY_PASSWORD", Secret: true, Help: "password at the registry",
			set: func(d *draft, v string) error { d.Registry.Password = v; return nil }},
		{Variable: "SEGUE_REDIS_URL", Secret: true, Help: "Redis or Valkey, redis://[user:password@]host:port/db", set: setRedis},
	}
}

func truth(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false: set true or false", v)
	}
	return b, nil
}

func setListen(d *draft, v string) error {
	if v == "off" {
		d.Listen = ""
		return nil
	}
	if _, err := splitAddress(v, true); err != nil {
		return err
	}
	d.Listen = v
	return nil
}

func setStages(d *draft, v string) error {
	if v != Fused && v != Staged {
		return fmt.Errorf("%q is no way to run: set fused or staged", v)
	}
	d.Stages = v
	return nil
}

func setInstance(d *draft, v string) error {
	if len(v) > 200 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return fmt.Errorf("%q is no name: set up to 200 letters, digits, dots, hyphens and underscores", v)
	}
	d.Instance = v
	return nil
}

func setLevel(d *draft, v string) error {
	if err := d.Log.Level.UnmarshalText([]byte(v)); err != nil {
		d.Log.Level = slog.LevelInfo
		return fmt.Errorf("%q is no level: set debug, info, warn or error", v)
	}
	return nil
}

func setFormat(d *draft, v string) error {
	if v != "text" && v != "json" {
		return fmt.Errorf("%q is no format: set text or json", v)
	}
	d.Log.Format = v
	return nil
}

func setBrokers(d *draft, v string) error {
	for _, b := range strings.Split(v, ",") {
		b = strings.TrimSpace(b)
		if b == "" {
			continue
		}
		address, err := splitAddress(b, false)
		if err != nil {
			return err
		}
		d.Kafka.Brokers = append(d.Kafka.Brokers, address)
	}
	return nil
}

// splitAddress checks host:port; anyHost allows an empty host.
func splitAddress(v string, anyHost bool) (string, error) {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return "", fmt.Errorf("%q is no address: set host:port", v)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || (n == 0 && !anyHost) {
		return "", fmt.Errorf("%q has no port between 1 and 65535: set host:port", v)
	}
	if host == "" && !anyHost {
		return "", fmt.Errorf("%q names no host: set host:port", v)
	}
	return v, nil
}
