package main

import (
	"slices"

	"segue/pkg/config"
	"segue/pkg/frontier"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/table"
)

// The stages, by the names that their topics bear.
const (
	stageReader       = "reader"
	stageTransformer  = "transformer"
	stageDeduplicator = "deduplicator"
)

// topics are those of a migration over these source tables, on so many brokers. Staged ones have more.
func topics(spec *migration.Spec, tables []*table.Table, stages string, brokers int) []kafka.Topic {
	replication := int16(spec.Kafka.ReplicationOn(brokers))
	one := func(name string) kafka.Topic { return kafka.Topic{Name: name, Partitions: 1, Replication: replication} }
	out := []kafka.Topic{one(spec.Name.FrontierTopic(stageReader)), one(spec.Name.RequestsTopic()), kafka.LettersTopic(spec.Name.DeadTopic(), replication)}
	lanes := []func(table.Name) string{spec.Name.RawTopic}
	if stages == config.Staged {
		out = append(out, one(spec.Name.FrontierTopic(stageTransformer)), one(spec.Name.FrontierTopic(stageDeduplicator)))
		lanes = append(lanes, spec.Name.ShapedTopic, spec.Name.UniqueTopic)
	}
	for _, lane := range lanes {
		for _, t := range tables {
			out = append(out, kafka.Topic{Name: lane(t.Name), Partitions: int32(spec.Kafka.Partitions), Replication: replication})
		}
	}
	return out
}

// lanes are all lanes of a migration, the same in every stage and in the same order in every process.
func lanes(spec *migration.Spec, tables []*table.Table) []frontier.Lane {
	var out []frontier.Lane
	for _, t := range tables {
		for p := range spec.Kafka.Partitions {
			out = append(out, frontier.Lane{Table: t.Name.Topic(), Partition: int32(p)})
		}
	}
	slices.SortFunc(out, func(a, b frontier.Lane) int {
		if a.Table != b.Table {
			if a.Table < b.Table {
				return -1
			}
			return 1
		}
		return int(a.Partition) - int(b.Partition)
	})
	return out
}
