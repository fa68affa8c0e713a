package migration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// Input is what Parse reads.
type Input struct {
	Path string // for messages, and as the base of relative ${file:…} paths
	Text []byte
	// Getenv finds a variable, such as os.LookupEnv.
	Getenv func(name string) (string, bool)
	// ReadFile reads a file that the text names, such as os.ReadFile.
	ReadFile func(path string) ([]byte, error)
}

// Parse reads a specification. The error is of type Diagnostics and holds every mistake.
func Parse(in Input) (*Spec, error) {
	p := &parser{in: in, spec: &Spec{
		Kafka:  Kafka{Partitions: DefaultPartitions, Retention: DefaultRetention, Wire: WireAvro, Compression: DefaultCompression},
		Park:   Park{Limit: DefaultParked, PerTable: DefaultParked},
		Load:   Load{Workers: DefaultWorkers, Chunk: DefaultChunk},
		Target: Target{Indexes: IndexesKeep, IndexWorkers: DefaultIndexWorkers, Pause: Pause{Max: DefaultMaxPause}},
	}}
	p.spec.file = newFile(in.Path, in.Text)
	if root := p.document(); root != nil {
		p.spec.file.maskSecrets(root)
		p.root(root)
	}
	p.spec.Protect.withDefaults()
	p.found.Sort()
	if err := p.found.Err(); err != nil {
		return nil, err
	}
	return p.spec, nil
}

type parser struct {
	in    Input
	spec  *Spec
	found Diagnostics
}

func (p *parser) mistake(at Place, format string, args ...any) {
	p.found = append(p.found, p.spec.Mistake(at, format, args...))
}

// document returns the one document's content.
func (p *parser) document() *yaml.Node {
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(p.in.Text))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		p.mistake(Place{Line: 1, Column: 1}, "the file is empty: write migration, source, target and tables")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	switch err := d.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntax(err)
	default:
		p.mistake(Place{Line: more.Line, Column: more.Column}, "a second document: one file describes one migration")
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax reports what the YAML reader did not understand.
func (p *parser) syntax(err error) {
	p.spec.file.maskSuspects()
	text := err.Error()
	at := Place{Line: 1, Column: 1}
	m := yamlLine.FindStringSubmatch(text)
	if m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			at.Line = n
		}
	}
	for _, c := range p.spec.file.line(at.Line) {
		if c != ' ' {
			break
		}
		at.Column++
	}
	p.mistake(at, "this is not YAML: %s", text)
}

// root reads the top level.
func (p *parser) root(n *yaml.Node) {
	s := p.spec
	p.object(n, "segue.yaml", []field{
		{"migration", true, p.name},
		{"source", true, func(n *yaml.Node) { s.Source = p.store(n, "source") }},
		{"target", true, p.target},
		{"kafka", false, p.kafka},
		{"load", false, p.load},
		{"protect", false, p.protect},
		{"park", false, p.park},
		{"on_schema_change", false, func(n *yaml.Node) { s.OnSchemaChange = p.schemaChange(n) }},
		{"tables", true, p.tables},
	})
}

func (p *parser) name(n *yaml.Node) {
	s, ok := p.text(n, "the migration's name")
	if !ok {
		return
	}
	p.spec.Name = Name(s.Value)
	if !p.spec.Name.valid() {
		p.mistake(s.At, "a migration's name has lower-case letters, digits and hyphens, at most %d, a letter first: write shop or shop-2", maxName)
	}
}

func (p *parser) store(n *yaml.Node, what string) Store {
	var out Store
	p.object(n, what, []field{p.postgres(what, &out)})
	return out
}

func (p *parser) postgres(what string, into *Store) field {
	return field{"postgres", true, func(n *yaml.Node) {
		s, ok := p.text(n, what+".postgres")
		if ok && s.Value == "" {
			p.mistake(s.At, "%s.postgres is empty: write a connection string, such as \"${LEGACY_URL}\"", what)
		}
		into.Postgres = Secret(s.Value)
	}}
}

func (p *parser) kafka(n *yaml.Node) {
	k := &p.spec.Kafka
	p.object(n, "kafka", []field{
		{"partitions", false, func(n *yaml.Node) { k.Partitions = p.number(n, "kafka.partitions", maxPartitions) }},
		{"replication", false, func(n *yaml.Node) { k.Replication = p.number(n, "kafka.replication", maxReplication) }},
		{"retention", false, func(n *yaml.Node) {
			s, ok := p.text(n, "kafka.retention")
			if !ok {
				return
			}
			d, err := parseRetention(s.Value)
			if err != nil {
				p.mistake(s.At, "kafka.retention: %v", err)
			}
			k.Retention = d
		}},
		{"compression", false, func(n *yaml.Node) {
			s, ok := p.text(n, "kafka.compression")
			if ok && !slices.Contains([]string{DefaultCompression, "zstd", "none"}, s.Value) {
				p.mistake(s.At, "kafka.compression is lz4, zstd (smaller, more work) or none")
			}
			k.Compression = s.Value
		}},
		{"wire", false, func(n *yaml.Node) {
			s, ok := p.text(n, "kafka.wire")
			if !ok {
				return
			}
			if k.Wire = Wire(s.Value); k.Wire != WireAvro && k.Wire != WireJSON {
				p.mistake(s.At, "kafka.wire is avro (with a schema registry) or json (Kafka Connect's schema and payload, without one)")
			}
		}},
	})
}

func (p *parser) park(n *yaml.Node) {
	k := &p.spec.Park
	p.object(n, "park", []field{
		{"limit", false, func(n *yaml.Node) { k.Limit = p.number(n, "park.limit", maxParked) }},
		{"per_table", false, func(n *yaml.Node) { k.PerTable = p.number(n, "park.per_table", maxParked) }},
	})
}

const (
	maxPartitions  = 256
	maxReplication = 9
	maxParked      = 100_000 // the applier holds the keys in memory
)

func (p *parser) number(n *yaml.Node, what string, most int) int {
	v := 0
	err := fmt.Errorf("not a whole number")
	if n = resolve(n); n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		err = n.Decode(&v)
	}
	if err != nil || v < 1 || v > most {
		p.mistake(placeOf(n), "%s must be a whole number from 1 to %d", what, most)
	}
	return v
}
