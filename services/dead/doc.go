// Package dead is what the commands of this name do: which parked rows somebody means, and how they and what became of them are shown; and
// the delivery of the log of parked rows to a topic for people's own tools.
//
// Keys are row values. They are shown where somebody asks for them at a terminal, because nothing can be done without them, and they are in
// the topic, which is people's own. They are in no log, metric or error (promise P10); other values are shown with --reveal alone.
package dead
