package schemas_test

import (
	"embed"
	"io/fs"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"

	"segue/schemas"
)

//go:embed *.avsc
var files embed.FS

// Every published schema is one that an independent Avro library takes, and says of each of its fields what it is for
// or is named so that it needs no words.
func TestSchemasCompile(t *testing.T) {
	names, err := fs.Glob(files, "*.avsc")
	if err != nil || len(names) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := goavro.NewCodec(string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(string(text), `"doc"`) {
			t.Errorf("%s: says nothing of what it is for", name)
		}
	}
}

// What the codecs embed is the file that is published, all of them.
func TestEveryFileIsEmbedded(t *testing.T) {
	embedded := map[string]bool{}
	for _, text := range []string{
		schemas.Frontier, schemas.Request, schemas.Mapped, schemas.MappedKey, schemas.Dead,
		schemas.Source, schemas.Transaction, schemas.Segue,
	} {
		embedded[text] = true
	}
	names, _ := fs.Glob(files, "*.avsc")
	for _, name := range names {
		text, _ := files.ReadFile(name)
		if !embedded[string(text)] {
			t.Errorf("%s is a file, but no variable of this package", name)
		}
	}
}
