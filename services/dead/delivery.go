package dead

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"segue/pkg/kafka"
	"segue/pkg/pgtarget"
	"segue/pkg/service"
	"segue/pkg/table"
)

// Letters takes records for people's own tools; *kafka.Letters does.
type Letters interface {
	Write(ctx context.Context, letters []kafka.Letter) error
	Close()
}

// Delivery carries the log of parked rows to a topic: every line at least once, in the order of their ids, after a crash from where it
// stood. A line that comes again has the same action and position. It has a connection of its own, waits for nothing that the
// applier waits for, and holds a page of lines at most (P8). It never ends by itself: what is away is tried again.
type Delivery struct {
	Migration string
	RawTopic  func(table.Name) string
	Connect   func(ctx context.Context) (*pgx.Conn, error)
	Open      func() (Letters, error)
	Log       *slog.Logger
	Metrics   *Metrics
	// Every is the pause between two looks at the log, Within how long Kafka may take for a page; 0: 1 s and 30 s.
	Every, Within time.Duration
}

// Metrics are the delivery's. They outlive a run: make them once per process.
type Metrics struct {
	delivered prometheus.Counter
	behind    prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		delivered: prometheus.NewCounter(prometheus.CounterOpts{Name: "segue_dead_delivered_total", Help: "Lines of the log of parked rows written to the topic for people's own tools."}),
		behind:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "segue_dead_behind", Help: "Lines of the log of parked rows that are not in the topic yet."}),
	}
	reg.MustRegister(m.delivered, m.behind)
	return m
}

const (
	lettersAtOnce = 500
	deliverEvery  = time.Second
	deliverWithin = 30 * time.Second
	maxDeliverGap = 30 * time.Second
)

// Run delivers until ctx ends.
func (d *Delivery) Run(ctx context.Context) error {
	every := cmp.Or(d.Every, deliverEvery)
	for pause := every; ; pause = min(2*pause, maxDeliverGap) {
		some, err := d.session(ctx, every)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if some {
			pause = every
		}
		if !errors.Is(err, pgtarget.ErrNoLog) { // the applier makes it at its start
			d.Log.Warn("the log of parked rows is not delivered, nothing else waits for that", "error", err.Error(), "again_in", pause.String())
		}
		if service.Sleep(ctx, pause) != nil {
			return ctx.Err()
		}
	}
}

// session delivers until something fails. some says that it has delivered anything.
func (d *Delivery) session(ctx context.Context, every time.Duration) (some bool, err error) {
	conn, err := d.Connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	at, err := pgtarget.Delivered(ctx, conn, d.Migration)
	if err != nil {
		return false, err
	}
	to, err := d.Open()
	if err != nil {
		return false, err
	}
	defer to.Close()
	for {
		behind, err := pgtarget.Undelivered(ctx, conn, d.Migration, at)
		if err != nil {
			return some, err
		}
		d.Metrics.behind.Set(float64(behind))
		if behind == 0 {
			if err := service.Sleep(ctx, every); err != nil {
				return some, err
			}
			continue
		}
		if at, err = d.page(ctx, conn, to, at); err != nil {
			return some, err
		}
		some = true
	}
}

// page delivers the next lines and notes that. Between the two it may die: they are delivered again then.
func (d *Delivery) page(ctx context.Context, conn *pgx.Conn, to Letters, at int64) (int64, error) {
	lines, err := pgtarget.ReadParkedLog(ctx, conn, d.Migration, at, lettersAtOnce)
	if err != nil || len(lines) == 0 {
		return at, err
	}
	letters := make([]kafka.Letter, len(lines))
	for i := range lines {
		if letters[i], err = d.letter(&lines[i]); err != nil {
			return at, err
		}
	}
	within, cancel := context.WithTimeout(ctx, cmp.Or(d.Within, deliverWithin))
	defer cancel()
	if err := to.Write(within, letters); err != nil {
		return at, err
	}
	last := lines[len(lines)-1].ID
	if err := pgtarget.NoteDelivered(ctx, conn, d.Migration, last); err != nil {
		return at, err
	}
	d.Metrics.delivered.Add(float64(len(lines)))
	return last, nil
}

// letter makes a record of a line: the source key, the line as export writes it, and headers as Kafka Connect has them for what it could not
// take on.
func (d *Delivery) letter(l *pgtarget.Logged) (kafka.Letter, error) {
	record := RecordOfLine(d.Migration, l)
	key, err := json.Marshal(record.Key)
	if err != nil {
		return kafka.Letter{}, err
	}
	value, err := json.Marshal(record)
	if err != nil {
		return kafka.Letter{}, err
	}
	headers := []kafka.LetterHeader{
		{Key: "__connect.errors.topic", Value: d.RawTopic(l.Source)},
		{Key: "__connect.errors.connector.name", Value: d.Migration},
		{Key: "__connect.errors.stage", Value: l.Fault.Stage},
		{Key: "__connect.errors.exception.class.name", Value: l.Fault.Code},
		{Key: "__connect.errors.exception.message", Value: l.Fault.Text},
		{Key: "segue.action", Value: l.Action},
		{Key: "segue.position", Value: l.Position},
		{Key: "segue.id", Value: fmt.Sprint(l.ID)},
	}
	out := kafka.Letter{Key: key, Value: value}
	for _, h := range headers {
		if h.Value != "" {
			out.Headers = append(out.Headers, h)
		}
	}
	return out, nil
}
