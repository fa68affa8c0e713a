// Package kafkatest gives tests and benchmarks a broker: Fake is kfake in this process, with faults to inject; Real is Apache Kafka
// (KRaft, one node) in a process of its own, which needs Java and, the first time, Maven. What is missing is said with
// the way to get it, and nothing is skipped in silence: whoever asks for a real broker gets one or an error.
package kafkatest
