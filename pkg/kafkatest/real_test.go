package kafkatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/kafkatest"
)

// What was acknowledged before a kill is there after a restart on the same folder.
func TestRealBrokerSurvivesKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := kafkatest.Real(t, kafkatest.Config{})
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "kept", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if s.PID() != 0 {
		t.Fatal("the broker still runs after Kill")
	}
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("kept", 0); end.Offset != 1 {
		t.Fatalf("the topic ends at %d after the restart, want 1", end.Offset)
	}
}
