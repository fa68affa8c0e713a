package dead

import (
	"encoding/json"
	"io"
	"time"

	"segue/pkg/pgtarget"
)

// Record is a parked row, or a line of its log, for programs.
type Record struct {
	Migration    string    `json:"migration"`
	ID           int64     `json:"id,omitempty"`     // of the log
	Action       string    `json:"action,omitempty"` // of the log: parked, superseded, discarded
	Who          string    `json:"who,omitempty"`    // of the log: who did it
	Table        string    `json:"table"`
	Key          []*string `json:"key"` // texts, null for NULL
	Position     string    `json:"position"`
	LastPosition string    `json:"last_position,omitempty"`
	Op           string    `json:"op"`
	Stage        string    `json:"stage,omitempty"`
	Code         string    `json:"code,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Size         int64     `json:"size,omitempty"`
	Cause        string    `json:"cause,omitempty"`
	Changes      int64     `json:"changes,omitempty"`
	Time         time.Time `json:"time"`
}

// RecordOf is a parked row's.
func RecordOf(migration string, p *pgtarget.Parked) Record {
	return Record{
		Migration: migration, Table: p.Source.String(), Key: p.Key.Texts(), Position: p.At.String(), LastPosition: p.Last, Op: p.Op,
		Stage: p.Fault.Stage, Code: p.Fault.Code, Reason: p.Fault.Text, Size: p.Fault.Size, Cause: p.Cause, Changes: p.Changes, Time: p.Parked.UTC(),
	}
}

// RecordOfLine is that of a line of the log.
func RecordOfLine(migration string, l *pgtarget.Logged) Record {
	return Record{
		Migration: migration, ID: l.ID, Action: l.Action, Who: l.Who, Table: l.Source.String(), Key: l.Key.Texts(), Position: l.Position, LastPosition: l.Last,
		Op: l.Op, Stage: l.Fault.Stage, Code: l.Fault.Code, Reason: l.Fault.Text, Size: l.Fault.Size, Cause: l.Cause, Changes: l.Changes, Time: l.Time.UTC(),
	}
}

// Export writes the rows as JSON, one a line.
func Export(w io.Writer, migration string, list []pgtarget.Parked) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range list {
		if err := e.Encode(RecordOf(migration, &list[i])); err != nil {
			return err
		}
	}
	return nil
}
