package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Lookup is where values come from. Flag answers only for flags that were given; a flag wins over its variable.
type Lookup struct {
	Getenv   func(variable string) string
	Flag     func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
}

// draft is the settings while they are read: with the parts that only make sense together.
type draft struct {
	Settings
	tls           bool
	ca, cert, key string
	problems      Problems
	given         map[string]bool // variables that were set
}

// Load reads all settings. The error is Problems: every mistake at once.
func Load(from Lookup) (*Settings, error) {
	d := &draft{given: map[string]bool{}}
	d.Kafka.ClientID = "segue"
	for _, s := range All() {
		d.load(s, from)
	}
	d.transport(from)
	d.together()
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return &d.Settings, nil
}

func (d *draft) problem(where string, err error) {
	d.problems = append(d.problems, Problem{Variable: where, Text: err.Error()})
}

func (d *draft) load(s Setting, from Lookup) {
	value, where, err := s.value(from)
	if err != nil {
		d.problem(where, err)
		return
	}
	d.given[s.Variable] = value != ""
	if value == "" {
		value = s.Default
	}
	if value == "" {
		return
	}
	if err := s.set(d, value); err != nil {
		d.problem(where, err)
	}
}

// value finds the setting's value and where it stands.
func (s Setting) value(from Lookup) (value, where string, err error) {
	if s.Flag != "" {
		if v, ok := from.Flag(s.Flag); ok {
			return v, "--" + s.Flag, nil
		}
	}
	value = from.Getenv(s.Variable)
	if !s.Secret {
		return value, s.Variable, nil
	}
	file := s.Variable + "_FILE"
	path := from.Getenv(file)
	switch {
	case path == "":
		return value, s.Variable, nil
	case value != "":
		return "", file, fmt.Errorf("%s is set too: set one of them", s.Variable)
	}
	b, err := from.ReadFile(path)
	if err != nil {
		return "", file, fmt.Errorf("read the secret: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), file, nil
}

// transport builds the brokers' TLS settings.
func (d *draft) transport(from Lookup) {
	if !d.tls {
		for _, v := range []string{"SEGUE_KAFKA_TLS_CA", "SEGUE_KAFKA_TLS_CERT", "SEGUE_KAFKA_TLS_KEY"} {
			if d.given[v] {
				d.problem(v, errors.New("it does nothing without TLS: set SEGUE_KAFKA_TLS=true"))
			}
		}
		return
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.ca != "" {
		c.RootCAs = d.authority(from)
	}
	if (d.cert == "") != (d.key == "") {
		d.problem("SEGUE_KAFKA_TLS_CERT", errors.New("certificate and key belong together: set SEGUE_KAFKA_TLS_KEY too"))
	} else if d.cert != "" {
		c.Certificates = d.certificate(from)
	}
	d.Kafka.TLS = c
}

func (d *draft) authority(from Lookup) *x509.CertPool {
	pem, err := from.ReadFile(d.ca)
	if err != nil {
		d.problem("SEGUE_KAFKA_TLS_CA", fmt.Errorf("read the authority: %w", err))
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		d.problem("SEGUE_KAFKA_TLS_CA", fmt.Errorf("%s holds no certificate in PEM form: set the file of the authority's certificate", d.ca))
	}
	return pool
}

func (d *draft) certificate(from Lookup) []tls.Certificate {
	cert, err := from.ReadFile(d.cert)
	if err != nil {
		d.problem("SEGUE_KAFKA_TLS_CERT", fmt.Errorf("read the certificate: %w", err))
		return nil
	}
	key, err := from.ReadFile(d.key)
	if err != nil {
		d.problem("SEGUE_KAFKA_TLS_KEY", fmt.Errorf("read the key: %w", err))
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		d.problem("SEGUE_KAFKA_TLS_CERT", fmt.Errorf("certificate %s with key %s: %w", d.cert, d.key, err))
		return nil
	}
	return []tls.Certificate{pair}
}

// together checks what only makes sense in company.
func (d *draft) together() {
	if len(d.Kafka.Brokers) == 0 && d.Registry.URL != "" && !d.refused("SEGUE_KAFKA_BROKERS") {
		d.problem("SEGUE_KAFKA_BROKERS", errors.New("a registry is set, but no brokers: set host:port of a Kafka broker, or neither to use the embedded ones"))
	}
	s := d.Kafka.SASL
	if s.Mechanism != "" && (s.User == "" || s.Password == "") && !d.refused("SEGUE_KAFKA_SASL_PASSWORD") {
		d.problem("SEGUE_KAFKA_SASL_MECHANISM", errors.New("it wants a user and a password: set SEGUE_KAFKA_SASL_USER and SEGUE_KAFKA_SASL_PASSWORD or SEGUE_KAFKA_SASL_PASSWORD_FILE"))
	}
	if s.Mechanism == "" && (s.User != "" || s.Password != "") && !d.refused("SEGUE_KAFKA_SASL_MECHANISM") {
		d.problem("SEGUE_KAFKA_SASL_USER", errors.New("it does nothing without a mechanism: set SEGUE_KAFKA_SASL_MECHANISM to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"))
	}
	if d.Registry.User != "" && d.Registry.URL == "" {
		d.problem("SEGUE_REGISTRY_USER", errors.New("it does nothing without a registry: set SEGUE_REGISTRY_URL"))
	}
}

// refused says whether the setting's own value was a problem already.
func (d *draft) refused(variable string) bool {
	for _, p := range d.problems {
		if p.Variable == variable || p.Variable == variable+"_FILE" || p.Variable == "--"+flagOf(variable) {
			return true
		}
	}
	return false
}

func flagOf(variable string) string {
	for _, s := range All() {
		if s.Variable == variable && s.Flag != "" {
			return s.Flag
		}
	}
	return variable
}

func setMechanism(d *draft, v string) error {
	switch m := strings.ToUpper(v); m {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		d.Kafka.SASL.Mechanism = m
		return nil
	}
	return fmt.Errorf("%q is not supported: set PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", v)
}

func setRegistry(d *draft, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("it is no http or https URL: set one such as http://localhost:8081")
	}
	if u.User != nil {
		return errors.New("it holds a user: set SEGUE_REGISTRY_USER and SEGUE_REGISTRY_PASSWORD instead, so that no password shows in logs")
	}
	d.Registry.URL = strings.TrimRight(v, "/")
	return nil
}

func setRedis(d *draft, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || (u.Scheme != "redis" && u.Scheme != "rediss") {
		return errors.New("it is no Redis URL: set one such as redis://localhost:6379/0") // the value may hold a password
	}
	d.Redis = v
	return nil
}
