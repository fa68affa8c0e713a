// Package kafka moves the bytes by the rules of package frontier: it writes a stage's changes and frontiers, reads a hop's batches back,
// keeps the topics and trims them (promises P1, P3 and P8). It is the only adapter that knows the client library.
//
// What it rests on:
//
//   - A Writer never goes on after an error: it is broken for good, and its successor claims and resumes. Its input
//     may be acknowledged only up to a frontier that it has read back and found valid.
//   - A Reader consumes at exact offsets, without a group. An offset that is out of range, or a gap, is an error, never a jump.
//   - Topics are made by segue, never by the broker, with a fixed number of partitions and without expiry. Only a
//     Trimmer deletes, and only what is applied.
//
// Memory: a Writer holds at most Pace.Buffer bytes of records that Kafka has not acknowledged; a Reader holds at most MaxAheadBytes of
// records that wait for their frontier, plus one fetch, plus what the oldest frontier still needs.
package kafka
