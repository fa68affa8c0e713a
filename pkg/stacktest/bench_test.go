package stacktest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"segue/pkg/kafkatest"
	"segue/pkg/stacktest"
)

// contender is a way to get rows from one database to the other.
type contender struct {
	name string
	form stacktest.Form // empty: PostgreSQL's own logical replication
}

const native = "native"

// contenders are those that BENCH_FORMS names, else all. Native comes first: the others are held against it.
func contenders(b *testing.B) []contender {
	b.Helper()
	all := []contender{{native, ""}, {"kafka-fused", stacktest.Fused}, {"embedded", stacktest.Embedded}, {"kafka-staged", stacktest.Staged}}
	names := os.Getenv("BENCH_FORMS")
	if names == "" {
		return all
	}
	var out []contender
	for _, c := range all {
		if strings.Contains(","+names+",", ","+c.name+",") {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		b.Fatalf("BENCH_FORMS=%s names none of native, kafka-fused, embedded, kafka-staged", names)
	}
	return out
}

// number reads a size from the environment.
func number(b *testing.B, variable string, otherwise int) int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		b.Fatalf("%s=%s is no number above 0", variable, text)
	}
	return n
}

// figure is one line of the result.
type figure struct {
	Work    string             `json:"work"`
	Form    string             `json:"form"`
	Changes int                `json:"changes,omitempty"`
	Seconds float64            `json:"seconds,omitempty"`
	Rate    float64            `json:"per_second,omitempty"`
	Ratio   float64            `json:"ratio_to_native,omitempty"`
	CPU     float64            `json:"cpu_seconds_per_million,omitempty"` // of segue's processes
	RSS     map[string]float64 `json:"peak_mb,omitempty"`                 // of each process
	P50     float64            `json:"p50_ms,omitempty"`
	P99     float64            `json:"p99_ms,omitempty"`
	Worst   float64            `json:"worst_ms,omitempty"`
}

// results gathers the figures of one benchmark.
type results struct {
	name    string
	figures []figure
}

func (r *results) add(f figure) {
	if f.Seconds > 0 {
		f.Rate = float64(f.Changes) / f.Seconds
	}
	for _, n := range r.figures {
		if n.Work == f.Work && n.Form == native && n.Rate > 0 {
			f.Ratio = f.Rate / n.Rate
		}
	}
	r.figures = append(r.figures, f)
}

// write prints a table and keeps the figures in .cache/bench.
func (r *results) write(b *testing.B) {
	b.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nWORK\tFORM\tCHANGES\tSECONDS\tPER SECOND\tOF NATIVE\tCPU s/MILLION\tPEAK MB\tP50 ms\tP99 ms\tWORST ms")
	for _, f := range r.figures {
		var peaks []string
		for _, name := range stacktest.Staged.Services() {
			if mb := f.RSS[name]; mb > 0 {
				peaks = append(peaks, fmt.Sprintf("%s %.0f", name, mb))
			}
		}
		if mb := f.RSS["all"]; mb > 0 {
			peaks = append(peaks, fmt.Sprintf("all %.0f", mb))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Work, f.Form, f.Changes, show(f.Seconds, 1), show(f.Rate, 0), show(f.Ratio, 2),
			show(f.CPU, 1), strings.Join(peaks, ", "), show(f.P50, 1), show(f.P99, 1), show(f.Worst, 0))
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	root, err := kafkatest.Root()
	if err != nil {
		b.Fatal(err)
	}
	kept := map[string]any{"at": time.Now().UTC(), "cpus": runtime.NumCPU(), "figures": r.figures}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(root, ".cache", "bench")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, r.name+"-"+time.Now().UTC().Format("20060102T150405")+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("kept in %s\n", path)
}

func show(v float64, digits int) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// cost is what a stack's services took between two looks.
type cost map[string]stacktest.Usage

func costs(s *stacktest.Stack, form stacktest.Form) cost {
	c := cost{}
	for _, name := range form.Services() {
		c[name] = s.Usage(name)
	}
	return c
}

// since puts what was spent since an earlier look into a figure.
func (c cost) since(before cost, f figure) figure {
	var cpu time.Duration
	f.RSS = map[string]float64{}
	for name, u := range c {
		cpu += u.CPU - before[name].CPU
		f.RSS[name] = float64(u.PeakRSS) / (1 << 20)
	}
	if f.Changes > 0 {
		f.CPU = cpu.Seconds() / float64(f.Changes) * 1e6
	}
	return f
}
