package wire

import (
	"encoding/binary"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/request"
	"segue/schemas"
)

// Without a registry, records of the fixed schemas are Avro's single objects: goavro says the same fingerprint and reads them.
func TestUnregistered(t *testing.T) {
	for name, text := range map[string]string{
		"frontier": schemas.Frontier, "request": schemas.Request, "mapped": schemas.Mapped, "mapped key": schemas.MappedKey,
		"dead": schemas.Dead, "source": schemas.Source, "transaction": schemas.Transaction, "segue": schemas.Segue,
	} {
		codec := checker(t, text)
		form, err := canonicalForm(text)
		if err != nil || form != codec.CanonicalSchema() {
			t.Errorf("%s: %v: the canonical form is\n%s, goavro's\n%s", name, err, form, codec.CanonicalSchema())
		}
		head, err := singleHead(text)
		if err != nil || len(head) != 10 || head[0] != magicSingle || head[1] != 1 || binary.LittleEndian.Uint64(head[2:]) != codec.Rabin {
			t.Errorf("%s: %v: the head is %x, goavro's fingerprint %x", name, err, head, codec.Rabin)
		}
	}
	f, err := NewFrontiers(t.Context(), Unregistered{}, "shop.reader.frontier")
	if err != nil {
		t.Fatal(err)
	}
	want := frontier.Record{Claim: &frontier.Claim{Stage: "reader", Owner: "me", Upstream: -1, Written: 7}}
	b, err := f.EncodeFrontier(want)
	if err != nil {
		t.Fatal(err)
	}
	if _, rest, err := checker(t, schemas.Frontier).NativeFromSingle(b); err != nil || len(rest) > 0 {
		t.Errorf("goavro cannot read it: %v", err)
	}
	if got, err := f.DecodeFrontier(b); err != nil || *got.Claim != *want.Claim {
		t.Errorf("came back as %+v, %v", got, err)
	}
	b[5]++
	if _, err := f.DecodeFrontier(b); err == nil || !strings.Contains(err.Error(), "another schema") {
		t.Errorf("another schema's record: %v", err)
	}
	for _, b := range [][]byte{nil, {magicSingle}, {magicSingle, 1}, b[:9], {magicSingle, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if _, err := f.DecodeFrontier(b); err == nil {
			t.Errorf("%x passes", b)
		}
	}
	if _, err := (Unregistered{}).ID(t.Context(), "", ""); err == nil {
		t.Error("no registry gives an id")
	}
	if _, err := (Unregistered{}).Schema(t.Context(), 1); err == nil {
		t.Error("no registry gives a schema")
	}
}

// The form of the wire is fixed for a migration's life: every codec knows the other form's records and says what to do.
func TestOtherForm(t *testing.T) {
	c := change.Change{Op: change.Truncate, Table: users()}
	ask := request.Request{ID: "1", Kind: request.Keys, Table: users().Name}
	claim := frontier.Record{Claim: &frontier.Claim{Stage: "reader"}}
	avro := codecsOf(t, &memory{})
	single := codecsOf(t, Unregistered{})
	raw, text := rawCodec(t, &memory{}, users(), here), jsonCodec(t, users(), here)
	for name, err := range map[string]error{
		"raw json":      raw.Decode(must1(text.AppendValue(nil, &c)), new(change.Change)),
		"raw avro":      text.Decode(must1(raw.AppendValue(nil, &c)), new(change.Change)),
		"frontier json": second(avro.f.DecodeFrontier(must1(single.f.EncodeFrontier(claim)))),
		"frontier avro": second(single.f.DecodeFrontier(must1(avro.f.EncodeFrontier(claim)))),
		"request json":  second(avro.r.DecodeRequest(must1(single.r.EncodeRequest(ask)))),
		"request avro":  second(single.r.DecodeRequest(must1(avro.r.EncodeRequest(ask)))),
	} {
		written := strings.Fields(name)[1]
		if fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "written with kafka.wire: "+written) ||
			!strings.Contains(fault.HintOf(err), "set kafka.wire: "+written+" again") {
			t.Errorf("%s: %v\nhint: %s", name, err, fault.HintOf(err))
		}
	}
}

type fixedCodecs struct {
	f *Frontiers
	r *Requests
}

func codecsOf(t *testing.T, reg Registry) fixedCodecs {
	t.Helper()
	f, err := NewFrontiers(t.Context(), reg, "shop.reader.frontier")
	must(err)
	r, err := NewRequests(t.Context(), reg, "shop.requests")
	must(err)
	return fixedCodecs{f, r}
}

func second[T any](_ T, err error) error { return err }
