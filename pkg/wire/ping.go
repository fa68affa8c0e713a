package wire

import "context"

// Ping asks whether the registry answers, with what it is allowed to tell.
func (r *Confluent) Ping(ctx context.Context) error {
	_, err := r.client.Subjects(ctx)
	if err != nil {
		return r.explain(err, "list the subjects", "")
	}
	return nil
}
