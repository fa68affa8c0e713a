package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/services/reader"
	"segue/services/reconciler"
)

// TestAlertsNameMetricsThatExist: an alert on a metric that nobody exports never fires.
func TestAlertsNameMetricsThatExist(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMeters(reg)
	reader.New(reader.Config{}, reader.Deps{Metrics: reg})
	if _, err := reconciler.New(reconciler.Config{Spec: &migration.Spec{}, Mapping: &mapping.Mapping{}}, reconciler.Deps{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		reg.Describe(descriptions)
		close(descriptions)
	}()
	known := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	for d := range descriptions {
		known[name.FindStringSubmatch(d.String())[1]] = true
	}
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.Contains(line, "expr:") {
			continue
		}
		for _, m := range regexp.MustCompile(`segue_[a-z_]+`).FindAllString(line, -1) {
			used++
			if !known[m] {
				t.Errorf("alerts.yml uses %s, which nothing exports", m)
			}
		}
	}
	if used < 5 {
		t.Errorf("%d metrics found in alerts.yml: the test does not read it", used)
	}
}
