package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what a demo came to, for programs.
type Report struct {
	Rows         int64           `json:"rows"`
	LoadSeconds  float64         `json:"load_seconds"`
	RowsPerSec   int64           `json:"load_rows_per_second"`
	Transactions int64           `json:"transactions"`
	Changes      int64           `json:"changes"`
	LagP50       float64         `json:"lag_p50_ms"` // from commit to visible on the target, without the seconds around the kill
	LagP99       float64         `json:"lag_p99_ms"`
	Killed       string          `json:"killed"`
	KilledFor    float64         `json:"killed_to_caught_up_seconds"`
	Loaded       bool            `json:"loaded"`
	Resumed      bool            `json:"resumed"`
	Proved       bool            `json:"proved"`
	Held         bool            `json:"held"`
	Verdict      json.RawMessage `json:"verdict,omitempty"`

	lag     Lag
	verdict bytes.Buffer
}

func (s *stage) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Talk, "▸ "+format+"\n", args...)
}

// load waits for the initial load and shows it grow.
func (p *play) load(ctx context.Context) error {
	began, last := time.Now(), time.Time{}
	drawn := 0
	ticker := time.NewTicker(300 * time.Millisecond)
	defer ticker.Stop()
	for {
		now, err := p.Progress(ctx, p.env)
		if err == nil {
			if len(now.Tables) > 0 && (p.Terminal || time.Since(last) > 2*time.Second || now.Loaded) {
				drawn = p.draw(now, drawn)
				last = time.Now()
			}
			if now.Loaded {
				break
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Since(began) > 5*time.Minute {
			return fmt.Errorf("the initial load did not end within five minutes; the services' logs are in %s", p.logs)
		}
	}
	took := time.Since(began)
	p.report.Loaded, p.report.LoadSeconds = true, took.Seconds()
	p.report.RowsPerSec = int64(float64(p.report.Rows) / took.Seconds())
	p.say("loaded under traffic in %.1f s, foreign keys of the new store enforced again: %d rows/s", took.Seconds(), p.report.RowsPerSec)
	return nil
}

// draw shows a bar per table on a terminal, in place; elsewhere one line for all. It returns how many lines it drew.
func (p *play) draw(now Progress, before int) int {
	if !p.Terminal {
		var parts []string
		for _, t := range now.Tables {
			parts = append(parts, fmt.Sprintf("%s %d%%", t.Name, percent(t)))
		}
		p.say("load: %s", strings.Join(parts, ", "))
		return 0
	}
	if before > 0 {
		_, _ = fmt.Fprintf(p.Talk, "\x1b[%dA", before)
	}
	const width = 30
	for _, t := range now.Tables {
		full := percent(t) * width / 100
		_, _ = fmt.Fprintf(p.Talk, "\x1b[2K  %-22s %s%s %3d%%\n", t.Name, strings.Repeat("█", full), strings.Repeat("░", width-full), percent(t))
	}
	return len(now.Tables)
}

func percent(t TableProgress) int {
	if t.Complete || t.Total == 0 {
		return 100
	}
	return int(min(t.Done*100/t.Total, 99))
}

// stream shows changes a second and the lag, a line a second.
func (p *play) stream(ctx context.Context, long time.Duration) error {
	_, first := p.probe.Since(0)
	sample, before := first, p.traffic.Changes.Load()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for end := time.Now().Add(long); time.Now().Before(end); {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var lag Lag
		lag, sample = p.probe.Since(sample)
		changes := p.traffic.Changes.Load()
		p.line("stream: %5d changes/s, commit to visible p50 %s p99 %s", changes-before, ms(lag.P50), ms(lag.P99))
		before = changes
	}
	p.endLine()
	lag, _ := p.probe.Since(first)
	if lag.Samples > p.report.lag.Samples || p.report.lag.Samples == 0 {
		p.report.lag = lag
		p.report.LagP50, p.report.LagP99 = millis(lag.P50), millis(lag.P99)
	}
	return nil
}

// killOne ends a service without warning and waits until what was committed before is on the target again.
func (p *play) killOne(ctx context.Context) error {
	victim := p.children[time.Now().UnixNano()%int64(len(p.children))]
	p.report.Killed = victim.name
	before, err := p.Progress(ctx, p.env)
	if err != nil {
		return err
	}
	if err := victim.kill(); err != nil {
		return fmt.Errorf("kill the %s: %w", victim.name, err)
	}
	began := time.Now()
	p.say("kill -9 of the %s, with the target at %s", victim.name, before.At)
	_, sample := p.probe.Since(0)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for time.Since(began) < time.Minute {
		// The second sample from here on was committed behind the kill.
		if lag, n := p.probe.Since(sample); n >= sample+2 && lag.Samples >= 2 && victim.restarts() > 0 {
			now, err := p.Progress(ctx, p.env)
			if err != nil {
				return err
			}
			p.report.Resumed, p.report.KilledFor = true, time.Since(began).Seconds()
			p.say("the %s came back, took up where it stood and caught up in %s: the target is at %s", victim.name, since(began), now.At)
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.say("the %s did not catch up within a minute; its log is in %s", victim.name, p.logs)
	return nil
}

// line rewrites the current line on a terminal, and adds one elsewhere.
func (p *play) line(format string, args ...any) {
	if p.Terminal {
		_, _ = fmt.Fprintf(p.Talk, "\r\x1b[2K▸ "+format, args...)
		return
	}
	p.say(format, args...)
}

func (p *play) endLine() {
	if p.Terminal {
		_, _ = fmt.Fprintln(p.Talk)
	}
}

func (p *play) verdictWriter() io.Writer {
	if p.JSON {
		return &p.report.verdict
	}
	return p.Out
}

// tell ends the demo with what was seen, where things are and what to try next.
func (p *play) tell() error {
	if p.JSON {
		if json.Valid(p.report.verdict.Bytes()) {
			p.report.Verdict = p.report.verdict.Bytes()
		}
		out := json.NewEncoder(p.Out)
		out.SetIndent("", "  ")
		return out.Encode(p.report)
	}
	r := &p.report
	_, err := fmt.Fprintf(p.Out, `
  rows loaded under traffic   %d in %.1f s (%d rows/s)
  changes streamed            %d in %d transactions
  commit to visible           p50 %s, p99 %s (%d samples)
  kill -9                     %s, caught up after %.1f s
  both stores agree           %s

Logs and the segue.yaml of this run: %s
Next: segue demo --keep stays up and prints the connection strings; README.md, "Your own databases".
`, r.Rows, r.LoadSeconds, r.RowsPerSec, r.Changes, r.Transactions, ms(r.lag.P50), ms(r.lag.P99), r.lag.Samples,
		r.Killed, r.KilledFor, yes(r.Proved), p.logs)
	return err
}

// stay keeps everything up, traffic off, until the context ends.
func (p *play) stay(ctx context.Context) {
	p.say("everything stays up until Ctrl-C. In another terminal:")
	for _, e := range p.env {
		name, value, _ := strings.Cut(e, "=")
		_, _ = fmt.Fprintf(p.Talk, "    export %s='%s'\n", name, value)
	}
	_, _ = fmt.Fprint(p.Talk, "    segue status -w\n    psql \"$LEGACY_URL\" -c \"UPDATE customers SET email = 'New@Example.com' WHERE id = 1\"\n"+
		"    psql \"$TARGET_URL\" -c 'SELECT * FROM crm.customer WHERE customer_id = 1'\n    segue reconcile --wait\n")
	<-ctx.Done()
}

func yes(b bool) string {
	if b {
		return "proved"
	}
	return "NOT PROVED"
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", millis(d)) }
