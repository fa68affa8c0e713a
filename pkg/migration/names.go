package migration

import (
	"strings"

	"segue/pkg/table"
)

// Name is a migration's name: lower-case letters, digits and hyphens, at most 40, a letter first. It has no
// underscore, because Kafka takes '.' and '_' for the same where it compares topic names, and because a slot's name
// has an underscore for each hyphen: so all names below stay unique.
type Name string

const maxName = 40

func (n Name) valid() bool {
	if n == "" || len(n) > maxName || n[0] < 'a' || n[0] > 'z' {
		return false
	}
	return strings.Trim(string(n), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// RawTopic holds a source table's changes as the reader wrote them.
func (n Name) RawTopic(source table.Name) string { return n.lane("raw", source) }

// ShapedTopic holds what the transformer made of them. Lanes are named by the source table all the way.
func (n Name) ShapedTopic(source table.Name) string { return n.lane("shaped", source) }

// UniqueTopic holds what the deduplicator made of those.
func (n Name) UniqueTopic(source table.Name) string { return n.lane("unique", source) }

func (n Name) lane(stage string, source table.Name) string {
	return string(n) + "." + stage + "." + source.Topic()
}

// RawLane is RawTopic for the table part of a topic's name (table.Name.Topic), as frontier.Lane has it.
func (n Name) RawLane(tableTopic string) string { return string(n) + ".raw." + tableTopic }

// ShapedLane is ShapedTopic for the table part of a topic's name.
func (n Name) ShapedLane(tableTopic string) string { return string(n) + ".shaped." + tableTopic }

// UniqueLane is UniqueTopic for the table part of a topic's name.
func (n Name) UniqueLane(tableTopic string) string { return string(n) + ".unique." + tableTopic }

// FrontierTopic holds a stage's claims and frontiers: "reader", "transformer", "deduplicator".
func (n Name) FrontierTopic(stage string) string { return string(n) + "." + stage + ".frontier" }

// Group is the consumer group in which the processes of a service take turns.
func (n Name) Group(service string) string { return string(n) + "." + service }

// RequestsTopic holds what is asked of the reader.
func (n Name) RequestsTopic() string { return string(n) + ".requests" }

// DeadTopic holds dead letters.
func (n Name) DeadTopic() string { return string(n) + ".dead" }

// Slot is the replication slot on the source.
func (n Name) Slot() string { return "segue_" + strings.ReplaceAll(string(n), "-", "_") }

// Publication is the publication on the source.
func (n Name) Publication() string { return n.Slot() }

// ApplicationName is what a service's connections are called in pg_stat_activity; below PostgreSQL's 63 bytes.
func (n Name) ApplicationName(service string) string { return "segue:" + string(n) + ":" + service }

// MarkPrefix is the prefix of the logical messages that segue writes into the source's log.
func (n Name) MarkPrefix() string { return "segue:" + string(n) }
